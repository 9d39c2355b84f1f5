"""Network, loss, flows, masks and windows of MEDIAR."""

import json
import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from unmask.data import NORMALIZERS
from unmask.data.channels import match_channels
from unmask.data.normalize import NoNormalize
from unmask.infer.predictor import Predictor
from unmask.infer.views import Views
from unmask.interop.official import SOURCES, understand
from unmask.io import Image
from unmask.labels import flows_to_labels, labels_to_flows
from unmask.labels.flows import flow_errors
from unmask.metrics.cellseg import cellseg_f1, cellseg_matching
from unmask.space.tiling import Tiling
from unmask.tasks.flows import Flows


@pytest.fixture(scope="module")
def manifest(golden):
    return json.loads((golden / "mediar" / "manifest.json").read_text())


@pytest.fixture(scope="module")
def images(flow_images):
    return flow_images("mediar")


def number(pattern, text):
    """The figure of a sentence of the manifest."""
    match = re.search(pattern, text)
    assert match is not None, text
    return float(match[1])


def test_flows(images, manifest):
    limit = number(r"flow ([\d.e-]+)", manifest["cases"]["flows"]["tolerance"])
    for image in images:
        found = labels_to_flows(image["label"], compat="mediar")
        np.testing.assert_allclose(found, image["flow"], atol=limit)
        labels = image["label"].astype(np.int32)
        errors = flow_errors(labels, image["noisy_in"][:2] / 5, compat="mediar")
        np.testing.assert_allclose(errors[1:], image["noisy_flow_error_f64"], atol=limit)


@pytest.mark.parametrize("suffix", ["", "_thr04"])
def test_masks(images, fill, manifest, suffix):
    text = manifest["cases"]["flows"]["recipe"][f"mask{suffix}"]
    threshold = number(r"cellprob ([\d.]+)", text)
    for image in images:
        logit = np.where(image["label"] > 0, 6, -6)
        clean = np.concatenate([5 * image["flow"], logit[None]])
        for kind, given in {"clean": clean, "noisy": image["noisy_in"]}.items():
            score = 1 / (1 + np.exp(-given[2]))
            found = flows_to_labels(
                given[:2] / 5,
                score,
                threshold=threshold,
                min_size=0,
                max_fraction=0.9,
                compat="mediar",
            )
            expected = image[f"{kind}_mask{suffix}"]
            # The fixture allows a few voxels to move; their ids must not.
            moved = (found == 0) != (expected == 0)
            assert moved.mean() <= 5e-4
            assert fill.same_partition(np.where(moved, 0, found), np.where(moved, 0, expected))


@dataclass(frozen=True)
class RawFlows(Flows):
    """Flows that are left as the network gives them."""

    def activate(self, logits):
        return logits.float()


class StandIn(nn.Module):
    """The network of the fixture's sentence: its output depends on the place in the window."""

    def __init__(self, name, recipe, fill, salt):
        super().__init__()
        outputs, inputs, *kernel = self.shape(recipe["weights"], "weight")
        self.main = nn.Conv2d(inputs, outputs, kernel[0], padding=kernel[0] // 2)
        for key, value in self.main.named_parameters():
            filled = fill.fill_array(f"{name}.{key}", tuple(value.shape), salt)
            value.data = torch.from_numpy(filled)
        self.mean = number(r"\+ ([\d.]+) \* mean", recipe["stand_in"])
        self.slope = number(r"\+ ([\d.]+) \* linspace", recipe["stand_in"])

    @staticmethod
    def shape(text, key):
        """Of ``standin_main.<key>``."""
        (found,) = re.findall(rf"main\.{key}', \(([\d,]+)\)", text)
        return [int(length) for length in found.split(",") if length]

    def logits(self, image):
        channels = torch.arange(1.0, self.main.out_channels + 1).view(-1, 1, 1)
        ramp = self.slope * torch.linspace(-1, 1, image.shape[-1]) * channels
        mean = image[:, :1].mean((2, 3), keepdim=True)
        return torch.tanh(self.main(image)) + self.mean * mean + ramp


@pytest.mark.parametrize("views", ["plain", "tta"])
@pytest.mark.parametrize("models", ["single", "ensemble"])
@pytest.mark.parametrize("size", ["small", "large"])
def test_window(golden, fill, manifest, size, models, views):
    case, salt = manifest["cases"]["window"], manifest["salt"]
    recipe, name = case["recipe"], f"{size}_{models}_{views}"
    window = (int(number(r"\((\d+), overlap", case["what"])),) * 2
    tta = ((), (1,), (0,)) if views == "tta" else False
    names = ["standin_main", "standin_aux"][: 1 + (models == "ensemble")]
    networks = [StandIn(each, recipe, fill, salt) for each in names]
    channels = networks[0].main.in_channels
    shape = (1, channels, *recipe["sizes"][size])
    image = fill.make_input(f"mediar_window_{size}", shape, salt, "uniform")[0]
    given = {
        "channels": channels,
        "tiling": Tiling(window, number(r"overlap ([\d.]+)", case["what"]), pad="zero"),
        "views": Views.of(2, tta=tta, mirror_positions=True),
        "normalize": NoNormalize(),
        "average": "logits",
        "precision": "32",
    }
    raw = Predictor(networks, task=RawFlows(2), **given).scores(image)
    expected = np.load(golden / "mediar" / case["file"])[name]
    found = fill.sample(raw, case["sample_step"][name])
    np.testing.assert_allclose(found, expected, rtol=0, atol=float(case["tolerance"].split()[0]))
    # The task's own activation comes after all averages.
    scores = Predictor(networks, task=Flows(2), **given).scores(image)
    activated = Flows(2).activate(torch.from_numpy(raw)[None])[0].numpy()
    np.testing.assert_allclose(scores, activated, atol=1e-6)


def test_normalize(golden, manifest):
    case = manifest["cases"]["normalise"]
    arrays = np.load(golden / "mediar" / case["file"])
    tolerance = float(case["tolerance"].split()[-1])
    names = [name.removeprefix("in_") for name in arrays if name.startswith("in_")]
    assert names
    for name in names:
        image = Image.from_array(arrays[f"in_{name}"], ndim=2, name=name).read()
        seen = match_channels(image, len(arrays[f"out_{name}"]), name)
        found = NORMALIZERS["mediar"]().measure(seen).apply(seen)
        np.testing.assert_array_equal(np.rint(255 * found), arrays[f"u8_{name}"])
        np.testing.assert_allclose(found, arrays[f"out_{name}"], rtol=0, atol=tolerance)


def test_f1(golden, manifest):
    case = manifest["cases"]["f1"]
    arrays = np.load(golden / "mediar" / case["file"])
    for name, thresholds in case["values"].items():
        pair = arrays[f"{name}_true"], arrays[f"{name}_pred"]
        for threshold, expected in thresholds.items():
            found = cellseg_matching(*pair, threshold=float(threshold))
            # Without a prediction the official counts are all 0.
            missed = found.fn if pair[1].any() else 0
            assert [found.tp, found.fp, missed] == expected["tp_fp_fn"], (name, threshold)
            assert cellseg_f1(*pair, threshold=float(threshold)) == pytest.approx(
                expected["precision_recall_f1"][2], abs=1e-12
            )


# Parameters above which a network takes more than seconds.
_LARGE = 5e7
SIZES = ["small", pytest.param("large", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def networks(golden, fill, manifest):
    """``networks(size)``: entries of the manifest, their arrays, and the filled network of each."""
    folder = golden / "mediar"
    built = {}

    def build(size):
        for name, case in manifest["cases"].items():
            if not name.startswith("net_"):
                continue
            listed = manifest["key_lists"][case["recipe"]["encoder_name"]]
            if (listed["parameters"] > _LARGE) != (size == "large"):
                continue
            if listed["file"] not in built:
                built[listed["file"]] = _filled(folder, listed, manifest["salt"], fill)
            yield case, np.load(folder / case["file"]), built[listed["file"]]

    return build


def _filled(folder, listed, salt, fill):
    """The network of a list of names, built as for a published file."""
    shapes = json.loads((folder / listed["file"]).read_text())
    assert len(shapes) == listed["entries"]
    entries = {
        name: torch.from_numpy(np.asarray(value))
        for name, value in fill.fill_state(shapes, salt).items()
    }
    model = understand(entries, "mediar").network()
    state = model.state_dict()
    assert len(state) == listed["entries"]
    assert sum(value.numel() for value in state.values()) == listed["numbers"]
    assert sum(value.numel() for value in model.parameters()) == listed["parameters"]
    for kind, names in json.loads((folder / listed["norm_layers_file"]).read_text()).items():
        for name in names:
            ours = SOURCES["mediar"].renamed(f"{name}.")
            layer = model.segmenter.get_submodule((ours or "").removesuffix("."))
            assert type(layer).__name__ == kind.split()[0]
            for figure in kind.split()[1:]:
                key, value = figure.split("=")
                assert getattr(layer, key) == float(value), name
    return model


def _given(fill, manifest, case):
    pattern = r"make_input\('(\w+)', (\[[\d, ]+\]), salt, '(\w+)'\)"
    ((name, shape, kind),) = re.findall(pattern, case["recipe"]["input"])
    return torch.from_numpy(fill.make_input(name, json.loads(shape), manifest["salt"], kind))


def _limit(case):
    return float(re.findall(r"<= ([\d.e-]+) \* std", case["tolerance"])[0])


@pytest.mark.parametrize("size", SIZES)
def test_networks(networks, fill, manifest, size):
    compared = 0
    for case, stored, model in networks(size):
        image = _given(fill, manifest, case)
        with torch.no_grad():
            found = model(image).numpy()
            maps = _maps(model.segmenter, image)
        spread = np.array(case["stats"]["output"]["std_per_channel"]).reshape(1, -1, 1, 1)
        sample, spread = (
            fill.sample(each, case["sample_step"]["output"])
            for each in (found, np.broadcast_to(spread, found.shape))
        )
        difference = np.abs(sample - stored["output"].ravel())
        assert (difference / spread).max() <= _limit(case)
        assert set(maps) == set(case["arrays"]) - {"output"}
        for key, each in maps.items():
            stats = case["stats"][key]
            assert list(each.shape) == stats["shape"]
            sample = fill.sample(each.numpy(), case["sample_step"][key])
            assert np.abs(sample - stored[key].ravel()).max() <= _limit(case) * stats["std"], key
        compared += 1
    if not compared:
        pytest.skip(f"the manifest has no {size} network")


def _maps(segmenter, image):
    """The features on the way, by the fixture's names."""
    features = segmenter.backbone(image)
    pyramid = segmenter.decoder.pyramid(features)
    maps = {f"encoder_feature{i}": feature for i, feature in enumerate(features, 2)}
    maps |= {f"decoder_block{i}": block for i, block in enumerate(reversed(pyramid))}
    maps["decoder_center"] = segmenter.decoder.center(features[-1])
    return maps


def test_loss_and_gradient(golden, manifest):
    case = manifest["cases"]["loss"]
    limit = float(case["tolerance"].split()[0])
    stored = np.load(golden / "mediar" / case["file"])
    task = Flows(stored["labels"].ndim - 2, compat="mediar")
    targets = [task.encode(labels[0].astype(np.int64), None) for labels in stored["labels"]]
    values, weight = (
        torch.from_numpy(np.stack([getattr(each, part) for each in targets]))
        for part in ("values", "weight")
    )
    np.testing.assert_allclose(values[:, :-1].numpy(), stored["flows"], atol=1e-5)
    outputs = torch.from_numpy(stored["outputs"]).requires_grad_()
    loss = task.loss(outputs, values, weight)
    loss.backward()
    assert outputs.grad is not None
    assert loss.item() == pytest.approx(float(stored["loss"]), rel=limit)
    scale = np.abs(stored["grad"]).max()
    np.testing.assert_allclose(outputs.grad.numpy(), stored["grad"], atol=limit * scale, rtol=0)
