"""The task: coarser levels, second view, mirrored scores, decoding, wrong requests."""

import numpy as np
import pytest
import torch

from unmask.build import build_segmenter
from unmask.errors import RecipeError
from unmask.labels.edges import shift_slices
from unmask.recipe import load, parse
from unmask.recipe_repair import published_balance
from unmask.space.batch import Batch
from unmask.space.random import generator
from unmask.tasks.affinities import Affinities
from unmask.tasks.embeddings import Embeddings

SPACES = {2: (24, 20), 3: (6, 16, 18)}


def labels_of(ndim):
    """Slabs along the last axis, with a line of background."""
    labels = np.zeros(SPACES[ndim], np.int64)
    labels[..., :8] = 7
    labels[..., 9:] = 70_000
    return labels


def coded(labels, dims=5):
    """Logits whose cosines are 1 inside an object and 0 elsewhere; background matches nothing."""
    rng = generator(0, "codes")
    codes = 3 * np.eye(dims)[np.unique(labels, return_inverse=True)[1].reshape(labels.shape)]
    noise = rng.standard_normal((*labels.shape, dims))
    codes[labels == 0] = noise[labels == 0]
    return torch.from_numpy(np.moveaxis(codes, -1, 0)[None].astype(np.float32))


def targets(task, labels):
    target = task.encode(labels, None)
    return torch.from_numpy(target.values)[None], torch.from_numpy(target.weight)[None]


@pytest.mark.parametrize("ndim", [2, 3])
def test_perfect_logits_are_decoded(ndim):
    task = Embeddings(ndim=ndim, dims=5)
    labels = labels_of(ndim)
    found = task.decode(task.activate(coded(labels))[0].numpy(), None)
    for name in (7, 70_000):
        assert len(np.unique(found[labels == name])) == 1
    assert found[labels == 7][0] != found[labels == 70_000][0]


def test_background_as_an_object_is_taken_away():
    task = Embeddings(ndim=2, dims=5, background="object")
    labels = np.zeros((20, 20), np.int64)
    labels[4:9, 4:9] = 3
    logits = 3 * torch.eye(5)[torch.from_numpy((labels > 0).astype(int))].movedim(-1, 0)[None]
    found = task.decode(task.activate(logits)[0].numpy(), None)
    assert ((found > 0) == (labels > 0)).all()
    assert task.decode(np.zeros((8, 20, 20), np.float32), None).shape == (20, 20)


def test_offsets_may_differ_at_prediction():
    task = Embeddings(ndim=2, dims=4, decode_offsets=((-1, 0), (0, -1), (-4, 4)))
    assert task.channels() == 4
    assert task.activate(torch.randn(1, 4, 9, 9)).shape == (1, 3, 9, 9)
    assert task.context == task.reach + 4


@pytest.mark.parametrize("kind", [Embeddings, Affinities])
@pytest.mark.parametrize("ndim", [2, 3])
def test_mirrored_scores_are_the_scores_of_the_mirrored_image(kind, ndim):
    offsets = [tuple(-(axis == a) for axis in range(ndim)) for a in range(ndim)]
    offsets += [(*(0,) * (ndim - 2), -2, 3), (*(0,) * (ndim - 2), -2, -3)]
    task = Embeddings(ndim=ndim, dims=5, offsets=tuple(offsets))
    for axis in range(ndim):
        logits = torch.randn(1, 5, *SPACES[ndim], generator=torch.Generator().manual_seed(0))
        scores = task.activate(logits)
        found = task.flip(task.activate(logits.flip(axis + 2)), axis)
        if kind is Affinities:
            found = Affinities(ndim=ndim, offsets=tuple(offsets)).flip(
                task.activate(logits.flip(axis + 2)), axis
            )
        for channel, offset in enumerate(offsets):
            here, _ = shift_slices(SPACES[ndim], offset)
            where = (0, channel, *here)
            torch.testing.assert_close(found[where], scores[where])


@pytest.mark.parametrize("ndim", [2, 3])
def test_coarser_levels_compare_every_other_id(ndim):
    task = Embeddings(ndim=ndim, dims=5, side_weight=0.5, side_decay=0.25, side_offsets=(ndim,))
    labels = labels_of(ndim)
    values, weight = targets(task, labels)
    stride = (2,) * ndim
    picks = tuple(slice(None, None, 2) for _ in labels.shape)
    logits = torch.randn(1, 5, *labels[picks].shape, generator=torch.Generator().manual_seed(1))
    losses = [
        task.side_loss(logits, values, weight, level=level, stride=stride) for level in (1, 2)
    ]
    direct = Embeddings(ndim=ndim, dims=5, offsets=task._learned[:ndim])
    expected = 0.5 * direct.loss(logits, *targets(task, labels[picks]))
    torch.testing.assert_close(losses[0], expected)
    torch.testing.assert_close(losses[1], 0.25 * expected)


def test_means_have_the_published_balance_with_the_weights_that_the_docstring_names():
    """Away from borders, which the two count differently, the losses differ by the height alone."""
    height, dims = 32, 5
    labels = np.zeros((height, height), np.int64)
    labels[:, height // 2 :] = 1
    options = {"ndim": 2, "dims": dims, "offsets": ((-1, 0), (0, -1)), "background": "object"}
    published = Embeddings(
        **options, foreground=True, foreground_weight=1000.0, **published_balance(2)
    )
    means = Embeddings(
        **options,
        foreground=True,
        foreground_weight=1000.0 / height,
        side_weight=0.5,
        side_decay=0.5,
    )
    logits = torch.randn(1, dims + 2, height, height, generator=torch.Generator().manual_seed(0))
    given = targets(published, labels)
    shares = [published.loss(logits, *given) / means.loss(logits, *given)]
    for level in (1, 2):
        step = 2**level
        side = logits[:, :dims, ::step, ::step].contiguous()
        both = (
            task.side_loss(side, *given, level=level, stride=(step, step))
            for task in (published, means)
        )
        shares.append(next(both) / next(both))
    assert [float(share) for share in shares] == pytest.approx([height] * 3, rel=0.25)


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("ndim", [2, 3])
def test_gradients_are_those_of_finite_differences(ndim, published):
    offsets = [step for far in (1, 2) for step in np.diag([-far] * ndim).tolist()]
    task = Embeddings(
        ndim=ndim,
        dims=3,
        offsets=offsets,
        foreground=True,
        foreground_weight=0.5,
        cross_weight=0.7,
        side_weight=0.3,
        **(published_balance(ndim) if published else {}),
    )
    space = (3, 4, 6)[-ndim:]
    labels = np.zeros(space, np.int64)
    labels[..., 0], labels[..., 2:4], labels[..., 4:] = 4, 9, 70_000
    values, weight = (each.double() for each in targets(task, labels))
    source = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 1, 5, *space, generator=source, dtype=torch.float64)
    coarse = two[(..., *(slice(None, None, 2) for _ in space))][:, :3].clone()
    losses = {
        "within": (lambda x: task.loss(x, values, weight), one),
        "across": (lambda x: task.cross_loss(x, two, values, weight), one),
        "coarse": (
            lambda x: task.side_loss(x, values, weight, level=1, stride=(2,) * ndim),
            coarse,
        ),
    }
    for name, (loss, logits) in losses.items():
        given = logits.clone().requires_grad_()
        assert torch.autograd.gradcheck(loss, given, fast_mode=True), name


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_second_view_can_be_turned_back(ndim):
    view = {"contrast": 0.0, "brightness": 0.0, "boxes": 0}
    task = Embeddings(ndim=ndim, dims=5, view=view)
    image = torch.randn(3, 2, *SPACES[ndim][:-1], SPACES[ndim][-2])
    values = torch.ones_like(image[:, :1])
    made = [task.second_view(image, values, seed=seed) for seed in range(4)]
    assert all(pair is not None for pair in made)
    for pair in made:
        assert pair is not None
        torch.testing.assert_close(pair[1](pair[0]), image)
    assert any(not torch.equal(pair[0], image) for pair in made if pair is not None)
    assert Embeddings(ndim=ndim, cross_weight=0.0).second_view(image, values, seed=0) is None


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_segmenter_learns_by_all_three_losses(ndim):
    crop = [16] * ndim
    recipe = load(f"semantic{ndim}d").with_settings(
        [
            "model.backbone={name: resunet, width: 4, depth: 3}",
            "model.deep_supervision=2",
            f"data.crop={crop}",
            "task={name: embeddings, dims: 6, foreground: true}",
        ]
    )
    torch.manual_seed(0)
    segmenter = build_segmenter(recipe)
    labels = np.zeros((2, *crop), np.int64)
    labels[..., :9] = 1
    labels[..., 11:] = 2
    image = torch.from_numpy(labels[:, None].astype(np.float32))
    image = image + 0.1 * torch.randn(image.shape)
    pairs = [segmenter.task.encode(np.asarray(one), None) for one in labels]
    batch = Batch(
        image,
        torch.from_numpy(np.stack([pair.values for pair in pairs])),
        torch.from_numpy(np.stack([pair.weight for pair in pairs])),
        seed=3,
    )
    assert [head.out_channels for head in segmenter.side_heads] == [6, 6]
    optimizer = torch.optim.Adam(segmenter.parameters(), 0.01)
    losses = []
    for _ in range(8):
        step = segmenter.step(batch)
        optimizer.zero_grad()
        step.loss.backward()
        optimizer.step()
        losses.append(step.loss.item())
        assert step.loss > step.logs["loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert all(value.grad is not None for value in segmenter.parameters())
    assert segmenter.step(batch).loss == segmenter.step(batch).loss


@pytest.mark.parametrize("value", [0, 4])
@pytest.mark.parametrize("background", ["apart", "object"])
def test_images_of_one_value(background, value):
    task = Embeddings(ndim=2, background=background, foreground=True)
    given = targets(task, np.full((20, 20), value))
    logits = torch.randn(1, 18, 20, 20, requires_grad=True)
    loss = task.loss(logits, *given)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_no_offset_inside_the_crop():
    for task in (Embeddings(ndim=2, offsets=((-1, 0),)), Affinities(ndim=2, offsets=((-1, 0),))):
        given = targets(task, np.ones((1, 5), np.int64))
        with pytest.raises(RecipeError, match="offset inside a crop"):
            task.loss(torch.randn(1, task.channels(), 1, 5), *given)


@pytest.mark.parametrize(
    "options",
    [
        {"dims": 0},
        {"offsets": [[-1, 0, 0]]},
        {"decode_offsets": [[0, 0]]},
        {"background": "sky"},
        {"widen": [1]},
        {"cross_weight": -1.0},
        {"view": {"blur": 1}},
        {"view": {"contrast": -1.0}},
        {"decoding": {}},
        {"decoding": {"name": "mutex", "strides": [1, 5, 5]}},
        {"far_border": "wrap"},
        {"reach": 0},
    ],
    ids=str,
)
def test_options_out_of_range(options):
    with pytest.raises(RecipeError, match=r"task"):
        Embeddings(ndim=2, **options)


def test_the_published_balance_is_known_for_two_and_three_axes():
    with pytest.raises(RecipeError, match="published_scale"):
        published_balance(1)


@pytest.mark.parametrize("name", ["pea_cvppp", "pea_bbbc039", "pea_ac34"])
def test_a_recipe_of_version_0_1_loads_with_a_note(name):
    old = load(name).model_dump(mode="json")
    for option in published_balance(2):
        del old["task"][option]
    old["task"]["published_scale"] = True
    with pytest.warns(FutureWarning, match="a card: task.published_scale=True is read as task.bor"):
        assert parse(old, source="a card").task == load(name).task
    old["task"]["published_scale"] = False
    with pytest.warns(FutureWarning, match="the defaults"):
        task = parse(old, source="a card").task
    assert task is not None
    assert "published_scale" not in task.choice.options


@pytest.mark.parametrize("reduction", ["mean", "row_sum"])
def test_row_sums_are_means_times_the_rows(reduction):
    """Closed form: embeddings that are all equal join all pairs; every second row is apart."""
    labels = np.array([[1], [1], [2], [2], [2]])
    task = Embeddings(2, dims=1, offsets=[[-1, 0]], background="object", reduction=reduction)
    logits = torch.ones(1, 1, 5, 1)
    # One of four pairs is apart, has error 1 and weighs 3 times as much as the others.
    expected = 3 / 4 if reduction == "mean" else 3 / 5 * 5
    assert task.loss(logits, *targets(task, labels)).item() == pytest.approx(expected)
