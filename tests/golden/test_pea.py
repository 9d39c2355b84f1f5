"""Pixel-Embedded Affinity: networks, losses, labels, views and joined tiles of the program."""

import json
import re
from itertools import product

import numpy as np
import pytest
import torch

from unmask.build import build_task
from unmask.labels import merge_small, relabel, segment
from unmask.labels.edges import check_edges
from unmask.labels.watershed import Watershed, fragments
from unmask.models import (
    ForegroundHead,
    PeaDecoder,
    PeaResUNet,
    Superhuman,
    SuperhumanDecoder,
    nd,
)
from unmask.recipe import load
from unmask.recipe_repair import published_balance
from unmask.space.box import Box
from unmask.space.tiling import starts
from unmask.tasks.cosine import affinities, pair_loss
from unmask.tasks.embeddings import Embeddings
from unmask.tasks.offsets import widen_borders
from unmask.tasks.segmenter import Segmenter
from unmask.tasks.views import Turn

NETWORKS = {"net_resunet2d": "resunet2d", "net_unet3d": "unet3d"}
LOSSES = ["loss2d_cvppp", "loss2d_bbbc", "loss3d"]


@pytest.fixture(scope="module")
def fixture(golden, fill):
    folder = golden / "pea"
    return folder, json.loads((folder / "manifest.json").read_text()), fill


def case_of(fixture, name):
    folder, manifest, _ = fixture
    case = manifest["cases"][name]
    return case, np.load(folder / case["file"])


def call_of(text):
    """Name and shape out of a sentence ``make_input('name', [shape], ...)``."""
    match = re.search(r"make_input\('(\w+)', (\[[\d, ]+\])", text)
    assert match is not None, text
    return match.group(1), json.loads(match.group(2))


def figure(pattern, text):
    """The number of a sentence of the manifest."""
    match = re.search(pattern, text)
    assert match is not None, text
    return float(match[1])


def leaves(keys):
    """The published 2D network; its sizes are read from the shapes of its weights."""
    levels = sum(bool(re.fullmatch(r"down\d+\.block\.conv\.0\.weight", key)) for key in keys)
    widths = [keys["inconv.conv.conv.0.weight"][0]]
    widths += [keys[f"down{n}.block.conv.0.weight"][0] for n in range(1, levels + 1)]
    backbone = PeaResUNet(2, keys["inconv.conv.conv.0.weight"][1], widths=widths)
    decoder = PeaDecoder(2, backbone.channels, backbone.strides)
    dims = keys["outconv_emb.conv.weight"][0]
    task = Embeddings(ndim=2, dims=dims, foreground=True)
    head = ForegroundHead(2, decoder.width, task.channels())
    names = {"outconv_emb.conv.": "head.embedding.", "binary_seg.": "head.foreground."}
    names |= {f"outconv{n}.conv.": f"side_heads.{levels - n}." for n in range(1, levels + 1)}
    return Segmenter(backbone, decoder, head, task=task, ndim=2, deep_supervision=levels), names


def neurites(keys):
    """The published 3D network."""
    levels = sum(bool(re.fullmatch(r"up\d+\.1\.weight", key)) for key in keys)
    widths = [keys[f"conv{n}.block3.weight"][0] for n in range(levels)]
    widths.append(keys["center.block3.weight"][0])
    backbone = Superhuman(3, keys["embed_in.0.weight"][1], widths=widths)
    decoder = SuperhumanDecoder(3, backbone.channels, backbone.strides)
    task = Embeddings(ndim=3, dims=keys["out_put.0.weight"][0])
    head = nd.conv(3, decoder.width, task.channels(), kernel=1)
    names = {"out_put.0.": "head."}
    names |= {f"out_put{n}.0.": f"side_heads.{levels - n}." for n in range(1, levels + 1)}
    return Segmenter(backbone, decoder, head, task=task, ndim=3, deep_supervision=levels), names


BUILDERS = {"resunet2d": leaves, "unet3d": neurites}


def renamed(key, names, segmenter):
    """Published name to ours: heads by the table, the rest under backbone or decoder."""
    for old, new in names.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    inside = any(key == own for own in segmenter.backbone.state_dict())
    return f"{'backbone' if inside else 'decoder'}.{key}"


def filled(fixture, network):
    folder, manifest, fill = fixture
    entry = manifest["key_lists"][network]
    keys = json.loads((folder / entry["file"]).read_text())
    segmenter, names = BUILDERS[network](keys)
    places = {key: renamed(key, names, segmenter) for key in keys}
    state = segmenter.state_dict()
    assert {places[key]: tuple(shape) for key, shape in keys.items()} == {
        key: tuple(value.shape) for key, value in state.items()
    }
    assert sum(value.numel() for value in segmenter.parameters()) == entry["parameters"]
    for key, value in fill.fill_state(keys, manifest["salt"]).items():
        state[places[key]] = torch.from_numpy(np.asarray(value))
    segmenter.load_state_dict(state, strict=True)
    norms = json.loads((folder / entry["norm_layers_file"]).read_text())
    return segmenter, places, norms


def head_outputs(segmenter, image):
    """Outputs of all heads, coarse to fine, then the logits of the foreground."""
    finest, sides = segmenter.outputs(image)
    dims = segmenter.task.dims
    return [*sides[::-1], finest[:, :dims], finest[:, dims:]]


@pytest.mark.parametrize("name", NETWORKS)
def test_network(fixture, name):
    case, file = case_of(fixture, name)
    _, manifest, fill = fixture
    segmenter, places, norms = filled(fixture, NETWORKS[name])
    layers = dict(segmenter.named_modules())
    for kind, members in norms.items():
        eps, momentum = (float(x) for x in re.findall(r"=([\d.e-]+)", kind))
        for member in members:
            layer = layers[places[f"{member}.weight"].removesuffix(".weight")]
            assert (layer.eps, layer.momentum) == (eps, momentum)
    given, shape = call_of(case["recipe"]["input"])
    image = torch.from_numpy(fill.make_input(given, shape, manifest["salt"]))
    tolerances = {
        "eval": figure(r"<= ([\d.e-]+) \* std", case["tolerance"]),
        "train": figure(r"train mode: ([\d.e-]+)", case["tolerance"]),
    }
    for mode, tolerance in tolerances.items():
        segmenter.train(mode == "train")
        with torch.no_grad():
            outputs = head_outputs(segmenter, image)
        for head, output in zip(case["recipe"]["heads"], outputs, strict=False):
            key = f"{mode}_{head}"
            found = fill.sample(output.numpy(), case["sample_step"][key])
            assert output.shape == tuple(case["stats"][key]["shape"])
            limit = tolerance * case["stats"][key]["std"]
            np.testing.assert_allclose(found, file[key], atol=limit, rtol=0, err_msg=key)
    keys = [key for key in places if key.endswith(("running_mean", "running_var"))]
    state = segmenter.state_dict()
    first = int(figure(r"first (\d+) values", case["what"]))
    running = np.concatenate([state[places[key]].numpy()[:first] for key in keys])
    np.testing.assert_allclose(running, file["running_after_train"], rtol=1e-4, atol=1e-6)


def offsets_of(case):
    recipe = case["recipe"]
    rows = recipe["offsets"] if "offsets" in recipe else recipe["offsets zyx"]
    return tuple(tuple(row) for row in rows)


def embedding_of(fixture, labels, tag):
    """The embedding of the fixture's sentence: a code for each label, and noise.

    The sentences of the other losses refer to that of the first.
    """
    _, manifest, fill = fixture
    text = manifest["cases"]["loss2d_cvppp"]["recipe"]["embedding"]
    dims = int(figure(r"max\+1,(\d+)\)", text))
    power = figure(r"\*\*(\d+)", text)
    level = figure(r"noise - ([\d.]+)", text)
    noise = figure(r"\+ ([\d.]+) \* noise", text)
    if tag.endswith("v"):
        noise = figure(r"'v<i>' and ([\d.]+)", text)
    found = []
    for number, one in enumerate(labels):
        shape = (int(one.max()) + 1, dims)
        codes = fill.make_input(f"pea_codes_{tag}{number}", shape, manifest["salt"]) ** power
        added = fill.make_input(f"pea_noise_{tag}{number}", (dims, *one.shape), manifest["salt"])
        found.append(np.moveaxis(codes[one], -1, 0) + noise * added - level)
    return torch.from_numpy(np.stack(found).astype(np.float32))


class Losses:
    """What the tests of the losses share."""

    def __init__(self, fixture, name):
        self.case, self.file = case_of(fixture, name)
        self.labels = self.file["labels"].astype(np.int64)
        ndim = self.labels.ndim - 1
        background = "apart" if "zyx" in " ".join(self.case["recipe"]) else "object"
        sides = None if background == "object" else (ndim,) * len(self.case["epm"])
        self.task = Embeddings(
            ndim=ndim,
            offsets=offsets_of(self.case),
            background=background,
            side_offsets=sides,
            **published_balance(ndim),
        )
        self.values = torch.from_numpy(self.labels[:, None].astype(np.float32))
        self.weight = torch.ones_like(self.values)
        tag = "3" if background == "apart" else ""
        self.own = embedding_of(fixture, self.labels, f"{tag}l").requires_grad_()
        self.other = embedding_of(fixture, self.labels, f"{tag}v")
        self.limit = figure(r"losses ([\d.e-]+) relative", self.case["tolerance"])
        self.tag = tag

    def check(self, fill, loss, name):
        np.testing.assert_allclose(loss.item(), self.case[f"loss_{name}"], rtol=self.limit)
        (gradient,) = torch.autograd.grad(loss, self.own)
        found = fill.sample(gradient.numpy(), self.case["sample_step"][f"grad_{name}"])
        expected = self.file[f"grad_{name}"]
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=self.limit * np.abs(expected).max()
        )


@pytest.mark.parametrize("name", LOSSES)
class TestLosses:
    def test_within_and_across(self, fixture, fill, name):
        shared = Losses(fixture, name)
        task, given = shared.task, (shared.values, shared.weight)
        shared.check(fill, task.loss(shared.own, *given), "self")
        shared.check(fill, task.cross_loss(shared.own, shared.other, *given), "cross")

    def test_each_offset(self, fixture, name):
        shared = Losses(fixture, name)
        rule = shared.task._rule(0, shared.labels.shape[1:])
        for key, other in (("per_offset", None), ("cross_per_offset", shared.other)):
            found = [
                pair_loss(
                    shared.own.detach(),
                    shared.values,
                    shared.weight,
                    offsets=[offset],
                    rule=rule,
                    other=other,
                )
                for offset in shared.task._learned
            ]
            np.testing.assert_allclose(found, shared.file[key], rtol=shared.limit)

    def test_coarser_levels(self, fixture, fill, name):
        shared = Losses(fixture, name)
        _, manifest, _ = fixture
        space = shared.labels.shape[1:]
        for level, (scale, expected) in enumerate(shared.case["epm"].items(), 1):
            coarse = expected["shape"][1:]
            stride = [1 if n == m else int(scale) for n, m in zip(space, coarse, strict=True)]
            shape = (len(shared.labels), shared.own.shape[1], *coarse)
            given = f"pea_epm{shared.tag}_{scale}"
            logits = fill.make_input(given, shape, manifest["salt"], "signed")
            loss = shared.task.side_loss(
                torch.from_numpy(logits), shared.values, shared.weight, level=level, stride=stride
            )
            np.testing.assert_allclose(loss.item(), expected["loss"], rtol=shared.limit)

    def test_affinities(self, fixture, fill, name):
        shared = Losses(fixture, name)
        found = affinities(shared.own.detach(), shared.task._learned).numpy()
        inside = np.zeros(found.shape, bool)
        for channel, offset in enumerate(shared.task._learned):
            here = tuple(slice(max(0, -step), None) for step in offset)
            inside[(slice(None), channel, *here)] = True
        step = shared.case["sample_step"]["affinity"]
        found, inside = fill.sample(found, step), fill.sample(inside, step)
        limit = figure(r"affinities ([\d.e-]+)", shared.case["tolerance"])
        # Voxels without a neighbor have other values: the program compares across the border.
        np.testing.assert_allclose(found[inside], shared.file["affinity"][inside], atol=limit)


def test_foreground(fixture, fill):
    _, manifest, _ = fixture
    entry = manifest["mask_cross_entropy"]
    match = re.search(r"([\d.]+) \* make_input\('(\w+)', \(([\d,]+)\).*of (\w+)", entry["input"])
    assert match is not None
    factor, name, sizes, case = match.groups()
    labels = Losses(fixture, case)
    shape = tuple(int(n) for n in sizes.split(","))
    logits = torch.from_numpy(fill.make_input(name, shape, manifest["salt"], "signed"))
    dims = labels.own.shape[1]
    options = {"ndim": 2, "dims": dims, "background": "object", **published_balance(2)}
    both = torch.cat([labels.own.detach(), float(factor) * logits], 1)
    given = (labels.values, labels.weight)
    found = Embeddings(**options, foreground=True).loss(both, *given)
    found = found - Embeddings(**options).loss(both[:, :dims], *given)
    np.testing.assert_allclose(found.item(), entry["value"], rtol=1e-4)


def test_widening(fixture):
    case, file = case_of(fixture, "widen")
    assert "3x3" in case["what"]
    for name in file:
        if name.startswith("in"):
            halo = (0, 1, 1)[-file[name].ndim :]
            np.testing.assert_array_equal(
                widen_borders(file[name], halo), file[name.replace("in", "out", 1)]
            )


def test_views(fixture):
    _, file = case_of(fixture, "flips")
    image = torch.arange(file["forward"][0].size).view(1, *file["forward"].shape[1:])
    for (x, y, swap), expected in zip(file["rules"], file["forward"], strict=True):
        turn = Turn((bool(y), bool(x)), bool(swap))
        np.testing.assert_array_equal(turn.apply(image.float())[0], expected)
        torch.testing.assert_close(turn.undo(turn.apply(image.float())), image.float())


def test_joined_tiles(fixture, fill):
    """The program's tiles and weights, joined here; their affinities are those of the task."""
    _, manifest, _ = fixture
    case, file = case_of(fixture, "blend3d")
    numbers = [[int(n) for n in group.split(triple)] for group, triple in _triples(case["what"])]
    tile, stride, pad = numbers
    padded = np.pad(file["image"], [(p, p) for p in pad], mode="reflect")
    image = torch.from_numpy(padded.astype(np.float32) / 255)
    offsets = _published_offsets(manifest)
    task = Embeddings(ndim=3, offsets=offsets, far_border="zero")
    embed = _stand_in(fill, manifest["salt"], tile, case["recipe"]["stand_in"])
    near = [torch.linspace(-1, 1, n) for n in tile]
    squared = torch.stack(torch.meshgrid(*near, indexing="ij")).square().sum(0)
    width = figure(r"2\*([\d.]+)\^2", case["recipe"]["weight"])
    least = figure(r"([\d.e-]+) \+ exp", case["recipe"]["weight"])
    weight = least + torch.exp(-squared / (2 * width**2))
    sums = torch.zeros(len(offsets), *padded.shape)
    weights = torch.zeros(padded.shape)
    for corner in product(*map(starts, padded.shape, tile, stride)):
        box = Box(corner, tuple(a + n for a, n in zip(corner, tile, strict=True)))
        scores = task.activate(embed(image[box.slices]))
        sums[(slice(None), *box.slices)] += scores[0] * weight
        weights[box.slices] += weight
    inner = tuple(slice(p, n - p) for p, n in zip(pad, padded.shape, strict=True))
    joined = (sums / weights)[(slice(None), *inner)].numpy()
    steps = case["sample_step"]
    found = fill.sample(joined, steps["affinity_sample"])
    assert joined.shape == tuple(case["stats"]["shape"])
    np.testing.assert_allclose(found, file["affinity_sample"], atol=float(case["tolerance"]))
    mean = joined.mean(axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(mean, file["affinity_channel_mean_f64"], atol=1e-5)


def _triples(sentence):
    """Tile, stride and padding out of the fixture's sentence, each with what divides it."""
    found = re.findall(r"\d+x\d+x\d+|\d+,\d+,\d+", sentence)
    assert len(found) == 3, sentence
    return [(text, "x" if "x" in text else ",") for text in found]


def _published_offsets(manifest):
    return offsets_of(manifest["cases"]["loss3d"])


def _stand_in(fill, salt, tile, text):
    """The embedding of the fixture's sentence, a function of a tile."""
    match = re.search(r"(\d+)\*fill_array\('([\w.]+)',\(([\d,]+)\)", text)
    assert match is not None, text
    shape = tuple(int(length) for length in match[3].split(","))
    kernel = float(match[1]) * torch.from_numpy(fill.fill_array(match[2], shape, salt))
    pads = tuple(length // 2 for length in shape[2:])
    level, slope = figure(r"\) - ([\d.]+)", text), figure(r"\+ ([\d.]+)\*\(r0", text)
    slopes = torch.from_numpy(fill.make_input("pea_blend_ramp", (shape[0], 3), salt, "signed"))
    lines = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in tile), indexing="ij")
    ramp = torch.einsum("ca,azyx->czyx", slopes, torch.stack(lines))

    def embed(image):
        seen = torch.nn.functional.conv3d(image[None, None], kernel, padding=pads)
        return torch.tanh(seen) - level + slope * ramp

    return embed


# The published fragments of the two ways to decode volumes, slice by slice.
FRAGMENTS = {
    "fragments": Watershed(per_slice=True, rim="given"),
    "multicut_fragments": Watershed(
        per_slice=True,
        boundary="max",
        threshold=0.25,
        sigma=2.0,
        alpha=0.9,
        min_size=100,
        connectivity=None,
        rim="given",
    ),
}


def numbers(text):
    """All whole numbers of a text."""
    return [int(number) for number in re.findall(r"-?\d+", text)]


def decoding_2d(text):
    """Ranges, strides and passes out of a sentence ``shifts ...; strides ...; passes ...``."""
    parts = dict(re.findall(r"(shifts|strides|passes) ([\d,() ]+)", text))
    passes = numbers(parts["passes"])
    ranges, strides = numbers(parts["shifts"]), numbers(parts["strides"])
    return ranges, strides, list(zip(passes[::2], passes[1::2], strict=True))


def rolled_affinities(fill, index, text, ranges, salt):
    """Affinities of the fixture's sentence: cosines with the circular shift, negative ones 0."""
    dims, power = int(figure(r"\+1,(\d+)\)", text)), figure(r"\*\*(\d+)", text)
    codes = fill.make_input("pea_codes_post", (int(index.max()) + 1, dims), salt) ** power
    noise = fill.make_input("pea_noise_post", (dims, *index.shape), salt)
    field = np.moveaxis(codes[index], -1, 0) + figure(r"\+ ([\d.]+) \* noise", text) * noise
    field = field / np.linalg.norm(field, axis=0)
    offsets = [offset for far in ranges for offset in ((-far, 0), (0, -far))]
    rolled = [np.roll(field, (-y, -x), (1, 2)) for y, x in offsets]
    cosines = np.array([(field * other).sum(0) for other in rolled], np.float32)
    return np.maximum(cosines, 0), offsets


@pytest.mark.parametrize("name", ["cvppp", "bbbc", "nomask"])
def test_objects_in_planes(fixture, name):
    _, manifest, fill = fixture
    case, arrays = case_of(fixture, "post2d")
    recipe = case["recipe"]
    text = recipe["cvppp" if name == "nomask" else name]
    ranges, strides, passes = decoding_2d(text)
    embedding, salt = recipe["embedding"], manifest["salt"]
    values, offsets = rolled_affinities(fill, arrays["code_index"], embedding, ranges, salt)
    sample = values.ravel()[:: numbers(recipe["affinity"])[-1]]
    assert np.abs(sample - arrays[f"{name}_affinity_sample"]).max() < 1e-6
    inside = None if name == "nomask" else arrays["labels"] > 0
    found = segment(values, offsets, strides=strides, join_above=-1, foreground=inside)
    assert fill.same_partition(found, arrays[f"{name}_mutex"])
    merged = merge_small(arrays[f"{name}_mutex"], passes)
    assert np.array_equal(merged, arrays[f"{name}_merged"])
    assert np.array_equal(relabel(merged), arrays[f"{name}_final"])


def test_passes_over_small_objects(fixture):
    case, arrays = case_of(fixture, "post2d")
    _, _, passes = decoding_2d(case["recipe"]["cvppp"])
    labels = arrays["specks_in"]
    for number, each in enumerate(passes):
        labels = merge_small(labels, [each])
        assert np.array_equal(labels, arrays[f"specks_pass{number}"])


@pytest.mark.parametrize("name", FRAGMENTS)
def test_fragments_of_volumes(fixture, name):
    fill = fixture[2]
    case, arrays = case_of(fixture, "post3d")
    edges = check_edges(arrays["affinity"], case["recipe"]["offsets"], None)
    # the program numbers the fragments of the second way from 0
    expected = arrays[name].astype(np.int64) + 1
    assert fill.same_partition(fragments(edges, FRAGMENTS[name]), expected)


@pytest.mark.parametrize("name", ["mutex", "waterz_mean", "waterz_hq50", "multicut"])
def test_objects_in_volumes(fixture, name):
    fill = fixture[2]
    case, arrays = case_of(fixture, "post3d")
    strides = numbers(re.findall(r"strides ([\d,]+)", case["what"])[0])
    threshold = figure(r"threshold ([\d.]+)", case["what"])
    joined = {"threshold": threshold, "bins": 256, "watershed": FRAGMENTS["fragments"]}
    options = {
        "mutex": {"strides": strides, "join_above": -1},
        "waterz_mean": joined,
        "waterz_hq50": joined | {"quantile": int(figure(r"(\d+) %", case["what"]))},
        "multicut": {"watershed": FRAGMENTS["multicut_fragments"]},
    }
    found = segment(
        arrays["affinity"],
        case["recipe"]["offsets"],
        method=name.partition("_")[0],
        **options[name],
    )
    assert fill.same_partition(found, arrays[name].astype(np.int64) + 1)


def test_objects_of_the_preset_of_volumes(fixture):
    """`pea_ac34` decodes as published: fragments slice by slice, joined by their mean affinity."""
    fill = fixture[2]
    case, arrays = case_of(fixture, "post3d")
    task = build_task(
        load("pea_ac34").with_settings([f"task.decode_offsets={case['recipe']['offsets']}"])
    )
    found = task.decode(arrays["affinity"], None)
    assert fill.same_partition(found, arrays["waterz_mean"].astype(np.int64) + 1)
