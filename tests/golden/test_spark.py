"""SparK and the pet segmentation built on it give the numbers of the published programs."""

import json
import re
from typing import Any

import numpy as np
import pytest
import torch

from unmask.models import ResNet
from unmask.models.patches import patchify
from unmask.models.sparse import Visible
from unmask.optim import parameter_groups
from unmask.optim.lamb import Lamb
from unmask.pretraining import Spark
from unmask.pretraining.masks import split
from unmask.pretraining.spark import hidden_share
from unmask.tasks.semantic import Semantic
from unmask.training import schedule


@pytest.fixture(scope="module")
def manifest(golden):
    return json.loads((golden / "spark" / "manifest.json").read_text())


def found(pattern, text):
    """The first group of a pattern in a sentence of the manifest."""
    match = re.search(pattern, text)
    assert match is not None, text
    return match.group(1)


@pytest.mark.parametrize("case", ["small", "clipped"])
def test_steps_equal_the_published_ones(golden, fill, manifest, case):
    entry = manifest["cases"]["lamb"]
    what, recipe = entry["what"], entry["recipe"]
    stored = np.load(golden / "spark" / entry["file"])
    names = [name.removeprefix("start_") for name in stored if name.startswith("start_")]
    parameters = {name: torch.nn.Parameter(torch.tensor(stored[f"start_{name}"])) for name in names}
    decay, free, exempt = re.findall(r"weight decay ([\d.]+) \((\w+): ([\d.]+)\)", what)[0]
    groups = [
        {"params": [parameters[n] for n in names if n != free], "weight_decay": float(decay)},
        {"params": [parameters[free]], "weight_decay": float(exempt)},
    ]
    betas = re.findall(r"betas \(([\d.]+), ([\d.]+)\)", what)[0]
    optimizer = Lamb(
        groups,
        lr=float(found(r"lr ([\d.]+)", what)),
        betas=(float(betas[0]), float(betas[1])),
        eps=float(found(r"eps ([\d.e-]+)", what)),
        max_norm=float(found(r"max_grad_norm ([\d.]+)", what)),
    )
    size = float(found(rf"\* ([\d.]+) \({case}\)", recipe))
    steps = [key for key in stored if re.fullmatch(rf"{case}_step\d+_{names[0]}", key)]
    assert steps
    for step in range(len(steps)):
        for name, parameter in parameters.items():
            shape = tuple(parameter.shape)
            given = f"lamb_g_{name}_{step}"
            gradient = fill.make_input(given, shape, manifest["salt"], "signed") * size
            parameter.grad = torch.tensor(gradient)
        optimizer.step()
        for name, parameter in parameters.items():
            expected = torch.tensor(stored[f"{case}_step{step + 1}_{name}"])
            limit = float(entry["tolerance"])
            torch.testing.assert_close(parameter.detach(), expected, atol=limit, rtol=0)


def renamed(name):
    """Published name to ours, by prefix."""
    for theirs, ours in {
        "sparse_encoder.sp_cnn.": "backbone.",
        "dense_decoder.proj.": "head.",
        "dense_decoder.dec.": "decoder.dec.",
        "densify_": "decoder.densify_",
    }.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def filled(golden, fill, manifest, case):
    """The published network with weights by formula; the head has the channels of the key list."""
    recipe = manifest["cases"][case]["recipe"]
    entry = manifest["key_lists"]["maeseg_finetune" if case == "finetune" else "spark_resnet50"]
    keys = json.loads((golden / "spark" / entry["file"]).read_text())
    dead = json.loads(found(r"keep=(\[.*\])", recipe["weights"]).replace("'", '"'))
    method = Spark(ResNet(2, keys["sparse_encoder.sp_cnn.conv1.weight"][1]))
    outputs = keys["dense_decoder.proj.weight"][0]
    if outputs != method.head.out_channels:
        method.head = torch.nn.Conv2d(method.head.in_channels, outputs, 1)
    state = method.state_dict()
    assert {renamed(key): tuple(shape) for key, shape in keys.items() if key not in dead} == {
        key: tuple(value.shape) for key, value in state.items()
    }
    for key, value in fill.fill_state(keys, manifest["salt"], keep=dead).items():
        state[renamed(key)] = torch.from_numpy(np.asarray(value))
    method.load_state_dict(state, strict=True)
    return method


def test_norms(golden, fill, manifest):
    file = manifest["key_lists"]["spark_resnet50"]["norm_layers_file"]
    listed = json.loads((golden / "spark" / file).read_text())
    method = filled(golden, fill, manifest, "pretrain_eval")
    layers: dict[str, Any] = dict(method.named_modules())
    norms = {name for name, layer in layers.items() if hasattr(layer, "running_var")}
    assert {renamed(name) for names in listed.values() for name in names} == norms
    for kind, names in listed.items():
        for name in names:
            layer = layers[renamed(name)]
            assert layer.eps == float(found(r"eps=([\d.e-]+)", kind)), name
            assert layer.momentum == float(found(r"momentum=([\d.e-]+)", kind)), name


def image_of(fill, manifest, text, shape=None):
    name = found(r"make_input\('(\w+)'", text)
    size = shape or json.loads(found(r"(\[\d[^\]]*\])", text))
    kind = "normal" if "normal" in text else "uniform"
    return torch.from_numpy(fill.make_input(name, size, manifest["salt"], kind))


def compare(fill, case, stored, name, array, limit):
    """Samples and size of one array."""
    array = array.detach().numpy()
    stats = case["stats"][name]
    assert list(array.shape) == stats["shape"]
    steps = case["sample_step"]
    sample = fill.sample(array, steps[name] if isinstance(steps, dict) else steps)
    assert np.abs(sample - stored[name]).max() <= limit * stats["std"], name
    assert fill.stats(array)["l2"] == pytest.approx(stats["l2"], rel=max(1e-4, limit))


@pytest.mark.parametrize("name", ["pretrain_eval", "pretrain_train"])
def test_pretraining(golden, fill, manifest, name):
    case = manifest["cases"][name]
    stored = np.load(golden / "spark" / case["file"])
    method: Any = filled(golden, fill, manifest, name).train(name == "pretrain_train")
    image = image_of(fill, manifest, case["recipe"]["input"])
    noise = torch.from_numpy(stored["noise"])
    mask = split(noise, hidden_share(noise.shape[1], method.mask_ratio))
    visible = Visible.of(mask.keep, stored["active"].shape[2:])
    assert np.array_equal(visible.grid.numpy(), stored["active"])

    limit = float(found(r"arrays: max abs <= ([\d.e-]+)", case["tolerance"]))
    buffers = {key: value.clone() for key, value in method.named_buffers()}
    features = method.encode(image, visible)
    network: Any = method.backbone
    for feature, (stride, _) in zip(features, network.strides, strict=True):
        compare(fill, case, stored, f"enc_stride{stride}", feature, limit)
    projected = method.densify(features, visible)
    for level, feature in enumerate(projected):
        compare(fill, case, stored, f"proj{level}", feature, limit)
    for key, value in method.named_buffers():
        value.copy_(buffers[key])
    compare(fill, case, stored, "reconstruction", method.predict(image, mask), limit)
    for key, value in method.named_buffers():
        value.copy_(buffers[key])
    loss = method.masked_loss(image, mask)
    relative = float(found(r"loss ([\d.e-]+) relative", case["tolerance"]))
    assert loss.item() == pytest.approx(float(stored["loss"]), rel=relative)

    if name == "pretrain_train":
        loss.backward()
        parameters = dict(method.named_parameters())
        relative = float(found(r"gradient norms ([\d.e-]+)", case["tolerance"]))
        assert case["gradient_norms"]
        for key, norm in case["gradient_norms"].items():
            gradient = parameters[renamed(key)].grad
            assert gradient is not None, key
            assert gradient.norm().item() == pytest.approx(norm, rel=relative), key
        file = manifest["key_lists"]["spark_resnet50"]["file"]
        keys = [k for k in json.loads((golden / "spark" / file).read_text()) if ".running_" in k]
        state, expected = method.state_dict(), stored["running_after_train"]
        first = expected.size // len(keys)
        running = np.concatenate([state[renamed(key)].numpy()[:first] for key in keys])
        np.testing.assert_allclose(running, expected, rtol=0, atol=limit * expected.std())


def test_patchify_and_number_of_visible_patches(fill, manifest):
    entry = manifest["patchify"]
    text = entry["input"]
    shape = json.loads(found(r"(\([\d, ]+\))", text).replace("(", "[").replace(")", "]"))
    image = image_of(fill, manifest, text, shape)
    side = round((entry["shape"][2] / shape[1]) ** 0.5)
    patches = patchify(image, (side, side))
    assert list(patches.shape) == entry["shape"]
    assert patches.numpy().ravel()[:: entry["step"]].tolist() == entry["sample"]
    for size, count in manifest["visible_patches"].items():
        total = (int(size) // side) ** 2
        assert split(torch.rand(1, total), hidden_share(total, 0.6)).keep.shape[1] == count


def test_schedules_of_rate_and_decay(manifest):
    values = manifest["schedule"]["values"]
    assert values
    for value in values:
        steps, step = value["max_iters"], value["iter"]
        rate = schedule(step, steps=steps, warmup=int(value["warmup_iters"]), final=0.001)
        assert rate * value["peak_lr"] == pytest.approx(value["lr"], rel=1e-12)
        factor = schedule(step, steps=steps, warmup=0, final=value["wd_end"] / value["wd"])
        assert factor * value["wd"] == pytest.approx(value["weight_decay"], rel=1e-12)


def test_parameters_without_decay(golden, fill, manifest):
    method = filled(golden, fill, manifest, "pretrain_eval")
    names = {parameter: name for name, parameter in method.named_parameters()}
    groups = parameter_groups(method, lr=1.0, weight_decay=0.1)
    exempt = {names[p] for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert exempt == {renamed(name) for name in manifest["no_decay_parameters"]}


def test_finetuning_uses_the_dense_form(golden, fill, manifest):
    case = manifest["cases"]["finetune"]
    recipe, values = case["recipe"], case["values"]
    stored = np.load(golden / "spark" / case["file"])
    method = filled(golden, fill, manifest, "finetune").eval()
    truth = torch.from_numpy(stored["mask"]).float()
    task = Semantic(classes=2, compat="maeseg")
    assert task.channels() == method.head.out_channels

    def logits(image):
        return method.head(method.decoder(method.backbone(image), image.shape[2:]))

    images = {
        "normal": image_of(fill, manifest, recipe["normal"], truth_size(truth)),
        "raw255": image_of(fill, manifest, recipe["raw255"]) * 255,
    }
    limit = float(found(r"max abs <= ([\d.e-]+)", case["tolerance"]))
    near = float(found(r"Dice values ([\d]+e-[\d]+)", case["tolerance"]))
    ones = torch.ones_like(truth)
    for name, image in images.items():
        with torch.no_grad():
            output = logits(image)
        compare(fill, case, stored, f"out_{name}", output, limit)
        for index, expected in enumerate(values[name]["dice_loss_per_image"]):
            part = slice(index, index + 1)
            loss = task.loss(output[part], truth[part], ones[part])
            assert loss.item() == pytest.approx(expected, abs=near)
        labels = task.decode(task.activate(output).movedim(1, 0).numpy(), None)
        accuracy = (labels == truth[:, 0].numpy()).mean()
        assert accuracy == pytest.approx(values[name]["pixel_accuracy"], abs=1e-4)
    method.train()
    output = logits(images["normal"])
    rough = float(found(r"train_out: max abs <= ([\d.e-]+)", case["tolerance"]))
    compare(fill, case, stored, "train_out", output, rough)
    loss = task.loss(output, truth, ones)
    rough = float(found(r"train_loss ([\d.e-]+)", case["tolerance"]))
    assert loss.item() == pytest.approx(values["train_loss"], abs=rough)


def truth_size(truth):
    return [len(truth), 3, *truth.shape[2:]]


def test_dice_loss_of_given_scores(fill, manifest):
    formula = manifest["cases"]["finetune"]["values"]["dice_formula"]
    salt = manifest["salt"]

    def drawn(text):
        name, shape = re.findall(r"make_input\('(\w+)', \(([\d,]+)\)", text)[0]
        return torch.from_numpy(fill.make_input(name, [int(n) for n in shape.split(",")], salt))

    scores = drawn(formula["prob"])
    truth = (drawn(formula["mask"]) > float(found(r"> ([\d.]+)", formula["mask"]))).float()
    truth[-1] = 0
    task = Semantic(classes=2, compat="maeseg")
    logits = torch.logit(scores.double()).float()
    for one, true, expected in zip(logits, truth, formula["dice_loss"], strict=True):
        loss = task.loss(one[None], true[None], torch.ones_like(true[None]))
        assert loss.item() == pytest.approx(expected, abs=1e-5)
