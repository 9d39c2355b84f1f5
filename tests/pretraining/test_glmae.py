"""Global-local masked autoencoder in 2D and 3D: terms against definitions, teacher, collapse."""

import json
from itertools import product
from math import cos, pi

import pytest
import torch

from unmask.errors import RecipeError
from unmask.models import ResUNet, ViT
from unmask.models.patches import patchify
from unmask.optim import adamw
from unmask.pretraining import METHODS
from unmask.pretraining.views import ViewPlan, cut
from unmask.recipe import load, parse
from unmask.space.batch import Batch
from unmask.space.random import generator
from unmask.training import Journal, Plan, RunFolder, fit, make_fabric

SIZES = {2: (16, 24), 3: (8, 12, 8)}
SMALL = {
    "decoder_dim": 24,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "hidden": 16,
    "width": 8,
    "prototypes": 12,
    "steps": 10,
}


def build(ndim, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = ViT(ndim, 2, image=SIZES[ndim], patch=4, dim=24, depth=2, heads=2)
        return METHODS["glmae"](backbone, **{**SMALL, **options})


def batch(ndim, seed=3, count=2):
    chance = torch.Generator().manual_seed(seed)
    return Batch(torch.randn(count, 2, *SIZES[ndim], generator=chance), seed=seed)


def update(method, seed=3, ndim=2):
    """One update by gradient descent."""
    for parameter in method.parameters():
        parameter.grad = None
    method.step(batch(ndim, seed)).loss.backward()
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    method.after_update()


def student_and_teacher(method):
    student = {f"backbone.{n}": p for n, p in method.backbone.named_parameters()}
    student |= {f"head.{n}": p for n, p in method.head.named_parameters()}
    return student, dict(method.teacher.named_parameters())


def reconstruction(method, plan, images):
    """Slow definition of a reconstruction term, and the student's class tokens."""
    views = method._cut(images, plan)
    tokens = method.backbone.embed(views)
    mask = method._mask(images, len(views), tokens.grid, plan.name)
    latent = method.backbone.encode(tokens.values, mask.keep)
    predicted = method.decoder.dropped(latent, mask, tokens.grid)
    patches = patchify(views, method.backbone.patch)
    errors = []
    for view in range(len(views)):
        for place, token in enumerate(mask.drop[view].tolist()):
            target = patches[view, token]
            target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
            errors.append((predicted[view, place] - target).square().mean())
    return torch.stack(errors).mean(), latent[:, 0]


@pytest.mark.parametrize("ndim", [2, 3])
def test_terms_equal_their_definitions(ndim, monkeypatch):
    monkeypatch.setattr("unmask.pretraining.glmae.has_bf16", lambda _: False)
    method, images = build(ndim, views=(2, 3), weights=(0.5, 2.0, 3.0)), batch(ndim)
    with torch.no_grad():
        method.centre.value.copy_(0.1 * torch.randn(12))
        for parameter in method.teacher.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
        step = method.eval().step(images)
        errors, logits = [], []
        for plan in (method.global_plan, method.local_plan):
            error, tokens = reconstruction(method, plan, images)
            errors.append(error)
            logits.append(method.head(tokens))
        teacher = method.teacher
        views = method._cut(images, method.global_plan)
        complete = teacher["backbone"].encode(teacher["backbone"].embed(views).values)[:, 0]
        probabilities = ((teacher["head"](complete) - method.centre.value) / 0.04).softmax(dim=1)
        together, apart = [], []
        for image, p in product(range(2), range(2)):
            own = probabilities[2 * p + image]
            answer = (logits[0][2 * p + image] / 0.1).log_softmax(dim=0)
            together.append(-(own * answer).sum())
            for q in range(3):
                answer = (logits[1][2 * q + image] / 0.1).log_softmax(dim=0)
                apart.append(-(own * answer).sum())
    found = step.logs
    wanted = {
        "global": errors[0],
        "local": errors[1],
        "global_to_global": torch.stack(together).mean(),
        "global_to_local": torch.stack(apart).mean(),
        "teacher_kl": torch.stack(together).mean()
        + torch.special.xlogy(probabilities, probabilities).sum(dim=1).mean(),
    }
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, msg=name)
    total = errors[1] + 0.5 * errors[0] + 2 * wanted["global_to_global"]
    torch.testing.assert_close(step.loss, total + 3 * wanted["global_to_local"])


@pytest.mark.parametrize("ndim", [2, 3])
class TestMethod:
    def test_gradient_reaches_the_student_alone(self, ndim):
        method = build(ndim)
        method.step(batch(ndim)).loss.backward()
        for name, parameter in method.named_parameters():
            if name.startswith("teacher."):
                assert parameter.grad is None, name
                assert not parameter.requires_grad, name
            else:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().sum() > 0, name

    def test_all_views_of_a_kind_pass_the_encoder_at_once(self, ndim):
        method, shapes = build(ndim, views=(2, 5)), []
        for network in (method.backbone, method.teacher["backbone"]):
            network.norm.register_forward_hook(lambda _, given, __: shapes.append(given[0].shape))
        method.step(batch(ndim))
        assert [shape[0] for shape in shapes] == [4, 4, 10]

    def test_bf16_is_close(self, ndim):
        method, images = build(ndim).eval(), batch(ndim)
        exact = method.step(images).loss
        with torch.autocast("cpu", torch.bfloat16):
            short = method.step(images).loss
        assert short.dtype == torch.float32
        assert short.item() == pytest.approx(exact.item(), rel=0.02)

    @pytest.mark.parametrize("fast", [False, True])
    def test_the_teacher_alone_computes_in_bf16(self, ndim, fast, monkeypatch):
        monkeypatch.setattr("unmask.pretraining.glmae.has_bf16", lambda _: fast)
        method, seen = build(ndim), {}
        parts = {"student": method.backbone, "teacher": method.teacher["backbone"]}
        for name, part in parts.items():
            part.blocks[0].mlp.register_forward_hook(
                lambda _, __, found, name=name: seen.update({name: found.dtype})
            )
        assert method.step(batch(ndim)).loss.dtype == torch.float32
        short = torch.bfloat16 if fast else torch.float32
        assert seen == {"student": torch.float32, "teacher": short}

    def test_pictures(self, ndim):
        method, images = build(ndim), batch(ndim)
        pictures = method.reconstruct(images)
        torch.testing.assert_close(pictures["original"], images.image)
        same = pictures["masked"] == images.image
        assert 0.3 < same.float().mean() < 0.5
        assert torch.equal(pictures["rebuilt"][same], images.image[same])


@pytest.mark.parametrize("shape", [(9,), (9, 12), (9, 12, 7)])
def test_views_are_resized_boxes(shape):
    plan = ViewPlan("global", 3, tuple(6 for _ in shape), (0.4, 0.8), flip=True)
    drawn = plan.draw(generator(1, "views"), 2, shape)
    assert drawn == plan.draw(generator(1, "views"), 2, shape)
    assert len(drawn) == len(set(drawn)) == 6
    assert len({view.flips for view in drawn}) > 1
    images = torch.randn(2, 1, *shape)
    views = cut(images, drawn, plan.size)
    assert views.shape == (6, 1, *plan.size)
    for place, view in enumerate(drawn):
        for length, n in zip(view.box.shape, shape, strict=True):
            assert round(0.4 * n) <= length <= round(0.8 * n)
        part = images[place % 2 : place % 2 + 1][(..., *view.box.slices)]
        mode = ["linear", "bilinear", "trilinear"][len(shape) - 1]
        wanted = torch.nn.functional.interpolate(part, plan.size, mode=mode)
        torch.testing.assert_close(
            views[place : place + 1].flip([2 + a for a in view.flips]), wanted
        )


def test_a_view_of_its_own_size_is_exact():
    plan = ViewPlan("global", 1, (6, 8), (1.0, 1.0), flip=False)
    image = torch.randn(2, 3, 6, 8)
    assert torch.equal(cut(image, plan.draw(generator(0, "views"), 2, (6, 8)), (6, 8)), image)


def test_the_teacher_follows():
    method = build(2, ema=0.9, steps=10)
    with torch.no_grad():
        # Weights that a run begins with reach the student only
        method.backbone.norm.weight.fill_(1.5)
    update(method)
    student, teacher = student_and_teacher(method)
    for name, parameter in student.items():
        assert torch.equal(teacher[name], parameter), name
    before = {name: parameter.clone() for name, parameter in teacher.items()}
    update(method, seed=4)
    share = 0.1 * (cos(pi / 10) + 1) / 2
    for name, parameter in student.items():
        wanted = before[name] + share * (parameter - before[name])
        torch.testing.assert_close(teacher[name], wanted, msg=name)
        assert not torch.equal(teacher[name], before[name]), name


def test_the_teacher_rests_at_the_end():
    method = build(2, steps=2)
    for seed in range(2):
        update(method, seed)
    before = {n: p.clone() for n, p in method.teacher.named_parameters()}
    update(method, 2)
    for name, parameter in method.teacher.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_the_center_moves_with_updates_only():
    method = build(2, center_momentum=0.75)
    seen = []
    method.teacher["head"].register_forward_hook(lambda _, __, out: seen.append(out))
    for seed in (1, 2):
        method.step(batch(2, seed))
    assert method.centre.value.abs().sum() == 0
    method.after_update()
    wanted = 0.25 * torch.cat(seen).mean(dim=0)
    torch.testing.assert_close(method.centre.value, wanted)
    method.eval().step(batch(2, 3))
    method.after_update()
    torch.testing.assert_close(method.centre.value, wanted)


def test_a_bad_batch_leaves_the_center_finite():
    method = build(2)
    method.step(Batch(torch.full((2, 2, *SIZES[2]), torch.nan)))
    method.step(batch(2))
    method.after_update()
    assert method.centre.value.isfinite().all()
    assert method.centre.value.abs().sum() > 0


def test_the_temperature_warms_up():
    schedule = build(2, tau_teacher=(0.02, 0.06), tau_warmup=0.4, steps=10).schedule
    found = [schedule.temperature(torch.tensor(k)).item() for k in (0, 2, 4, 9)]
    assert found == pytest.approx([0.02, 0.04, 0.06, 0.06])


def test_prototypes_rest_at_first():
    method = build(2, freeze_last=0.2, steps=10)
    grads = []
    for seed in range(3):
        update(method, seed)
        grads.append(method.head.last_layer.weight_v.grad.abs().sum().item())
        assert method.head.mlp[0].weight.grad.abs().sum() > 0
    assert grads[0] == grads[1] == 0 < grads[2]


def train(folder, *, steps=6, resume=False, stop=None, **options):
    """A run of tiny batches; ``stop`` ends it as a crash would, after so many updates."""
    method = build(2, **{"steps": steps, **options})
    plan = Plan(steps=steps, lr=1e-3, save_every=2, log_every=1)

    def batches(start):
        for number in range(start, stop or 10_000):
            yield batch(2, seed=number)

    with Journal(folder, steps=steps, tensorboard=False, quiet=False) as journal:
        groups = [{"params": [p for p in method.parameters() if p.requires_grad]}]
        fit(
            method,
            batches,
            fabric=make_fabric(1, "32", "cpu"),
            optimizer=adamw(groups),
            plan=plan,
            journal=journal,
            run=RunFolder(folder, {}, resume=resume),
        )
    return method


def test_a_resumed_run_is_equal_bit_by_bit(tmp_path):
    whole = train(tmp_path / "whole").state_dict()
    with pytest.raises(Exception, match="batch"):
        train(tmp_path / "broken", stop=4)
    resumed = train(tmp_path / "broken", resume=True).state_dict()
    assert whole["updates"] == 6
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def records(folder):
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tau_teacher": (5.0, 5.0)}, "Lower method.tau_teacher"),
        ({"tau_teacher": (1e-5, 1e-5), "center_momentum": 1.0}, "Raise method.tau_teacher"),
    ],
)
def test_a_wrong_temperature_is_told(tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.setattr("unmask.pretraining.glmae._WARMED_UP", 3)
    train(tmp_path, **options)
    found = records(tmp_path)
    assert [words in record.get("warning", "") for record in found] == [False, False] + [True] * 4
    assert capsys.readouterr().err.count(words) == 1
    for name in ("feature_std", "teacher_entropy", "teacher_kl"):
        assert all(isinstance(record[name], float) for record in found), name


def test_a_sound_run_is_not_told_off(tmp_path, monkeypatch):
    monkeypatch.setattr("unmask.pretraining.glmae._WARMED_UP", 3)
    train(tmp_path)
    found = records(tmp_path)
    assert found
    assert not any("warning" in record for record in found)


def test_equal_images_have_no_spread():
    method, one = build(2).eval(), batch(2, count=1)
    same = Batch(torch.zeros(3, 2, *SIZES[2]))
    assert "feature_std" not in method.step(one).logs
    assert method.step(same).logs["feature_std"] == 0
    assert method.step(batch(2)).logs["feature_std"] > 0.01


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask_ratio": 0.0}, "mask_ratio"),
        ({"views": (2, 0)}, r"method\.views"),
        ({"views": (2,)}, "two numbers"),
        ({"weights": (1.0, 1.0)}, "three numbers"),
        ({"global_scale": (0.5, 1.5)}, "global_scale"),
        ({"local_size": 6}, "local_size.*whole patches"),
        ({"local_size": 4}, "at least two patches"),
        ({"tau_student": 0.0}, "tau_student"),
        ({"tau_teacher": (0.0, 0.1)}, "tau_teacher"),
        ({"ema": 1.5}, "ema=1.5"),
        ({"center_momentum": -0.1}, "center_momentum"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(RecipeError, match=words):
        build(2, **options)


def test_other_backbones_are_refused():
    with pytest.raises(RecipeError, match=r"method glmae.*model\.backbone=vit"):
        METHODS["glmae"](ResUNet(2, 1, width=4, depth=2))


@pytest.mark.parametrize("ndim", [2, 3])
def test_norms_of_the_head_take_away_what_tokens_share(ndim):
    """Tokens that differ by little get answers that differ by much."""
    tokens = torch.randn(1, 24) + 0.03 * torch.randn(6, 24)
    logits = {norm: build(ndim, head_norm=norm).head(tokens) for norm in (False, True)}
    assert logits[True].std(dim=0).mean() > 5 * logits[False].std(dim=0).mean()


def test_norms_of_the_head_outlive_a_kill(tmp_path):
    whole = train(tmp_path / "whole", head_norm=True).state_dict()
    with pytest.raises(Exception, match="batch"):
        train(tmp_path / "broken", stop=4, head_norm=True)
    resumed = train(tmp_path / "broken", resume=True, head_norm=True).state_dict()
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def test_an_option_of_version_0_1_is_read_with_a_note():
    old = load("glmae").model_dump(mode="json")
    old["method"]["centre_momentum"] = 0.8
    with pytest.warns(FutureWarning, match="method.centre_momentum is now method.center_momentum"):
        method = parse(old, source="a card").method
    assert method is not None
    assert method.choice.options["center_momentum"] == 0.8
    assert "centre_momentum" not in method.choice.options
