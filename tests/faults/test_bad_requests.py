"""Wrong requests through the command line (rows 9, 10, 12-24, 32 of docs/reliability.md)."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from unmask import api
from unmask.api import files as api_files
from unmask.api import runs
from unmask.checkpoint import load_model, save_model
from unmask.errors import DataError
from unmask.infer.load import load_predictor
from unmask.io import open_image, open_labels, save_image
from unmask.recipe import load


def refused(answer, *words):
    """Exit code 2, and a message with what was expected, what was found, and these words."""
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    text = answer.err + answer.out
    for word in ("expected", "found", *words):
        assert str(word) in text, f"{word!r} is not in: {text}"


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, command, phantoms, tiny):
    """The run of a masked autoencoder."""
    run = tmp_path_factory.mktemp("pre") / "run"
    where = ("--images", phantoms[2] / "images", "--out", run)
    answer = command("pretrain", "--preset", "mae2d", *where, *tiny(2, backbone="vit"))
    assert answer.code == 0, answer.err
    return run


def image(path: Path, *shape: int, dtype: str = "uint8") -> Path:
    rng = np.random.default_rng(0)
    save_image(path, rng.integers(0, 255, shape or (40, 36)).astype(dtype))
    return path


class Payload:
    """Opened as code, it leaves a file behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return (Path.touch, (self.canary,))


@pytest.fixture
def train(command, phantoms, tiny, tmp_path):
    """``train(*more)``: two updates of a tiny segmenter into ``tmp_path / "run"``."""
    folder = phantoms[2]

    def run(*more, images=folder / "images", labels=folder / "classes", classes=2):
        where = ("--images", images, "--labels", labels, "--out", tmp_path / "run")
        task = ("--set", f"task.classes={classes}")
        return command("train", "--preset", "semantic2d", *where, *tiny(2), *task, *more)

    return run


class TestModels:
    """Row 9: another architecture, no segmenter, no model at all."""

    def test_predict_with_a_pretrained_model(self, command, pretrained, phantoms, tmp_path):
        out = tmp_path / "out"
        answer = command("predict", "--model", pretrained, phantoms[2] / "images", "--out", out)
        refused(answer, pretrained, "segmenter", "'mae'", "train --init")
        assert not out.exists()

    def test_init_from_another_backbone(self, train, pretrained, tmp_path):
        refused(train("--init", pretrained), pretrained, "leave out --init")
        assert not (tmp_path / "run" / "model.safetensors").exists()

    @pytest.mark.parametrize("patch", ["8", "[8, 8]"])
    def test_init_fits_where_the_backbone_is_the_same(self, train, pretrained, patch):
        backbone = f"model.backbone={{name: vit, patch: {patch}, dim: 24, depth: 2, heads: 2}}"
        answer = train("--init", pretrained, "--set", backbone)
        assert answer.code == 0, answer.err

    def test_resume_with_another_architecture(self, train, tmp_path):
        assert train().code == 0
        before = content(tmp_path / "run")
        answer = train("--resume", "--set", "model.backbone.width=6")
        refused(answer, tmp_path / "run", "model.backbone.width: 4 before, 6 now", "--recipe")
        assert content(tmp_path / "run") == before

    def test_a_new_run_does_not_touch_an_older_one(self, train, tmp_path):
        assert train().code == 0
        before = content(tmp_path / "run")
        refused(train("--set", "train.lr=0.5"), tmp_path / "run", "--resume")
        assert content(tmp_path / "run") == before

    def test_resume_with_other_files(self, train, tmp_path, phantoms):
        assert train().code == 0
        some = sorted((phantoms[2] / "images").iterdir())[:2]
        labels = [phantoms[2] / "classes" / path.name for path in some]
        more = ["--images", some[1], "--labels", labels[1]]
        answer = train(*more, "--resume", images=some[0], labels=labels[0])
        refused(answer, tmp_path / "run", sorted((phantoms[2] / "images").iterdir())[2])

    def test_a_folder_without_a_fingerprint_cannot_be_resumed(self, train, tmp_path):
        assert train().code == 0
        (tmp_path / "run" / "data.json").unlink()
        refused(train("--resume"), "data.json", "another --out")

    def test_weights_that_do_not_fit_their_recipe(self, command, trained, phantoms, tmp_path):
        model = load_model(trained[2])
        weights = {name: torch.zeros(3) for name in model.weights}
        bad = tmp_path / "bad.safetensors"
        save_model(bad, weights, model.card)
        answer = command("predict", "--model", bad, phantoms[2] / "images", "--out", tmp_path / "o")
        refused(answer, bad, "differences", "and")

    def test_ensemble_of_models_that_see_other_images(self, command, trained, phantoms, tmp_path):
        models = ("--model", trained[2], "--model", trained[3])
        answer = command("predict", *models, phantoms[2] / "images", "--out", tmp_path / "out")
        refused(answer, trained[2], trained[3], "axes")

    @pytest.mark.parametrize(
        "setting", ["model.backbone.width=6", "data.channels=3", "task.classes=5", "train.lr=1"]
    )
    def test_settings_that_need_another_network(
        self, command, trained, phantoms, tmp_path, setting
    ):
        where = (phantoms[2] / "images", "--out", tmp_path / "out")
        refused(command("predict", "--model", trained[2], *where, "--set", setting), setting)
        assert not (tmp_path / "out").exists()

    def test_no_model(self, command, phantoms, tmp_path):
        where = (phantoms[2] / "images", "--out", tmp_path / "out")
        refused(command("predict", "--model", tmp_path / "none", *where), tmp_path / "none")


class TestPayloads:
    """Row 10: nothing in a file is executed."""

    def test_model(self, command, phantoms, tmp_path):
        canary, where = tmp_path / "canary", (phantoms[2] / "images", "--out", tmp_path / "out")
        plain, packed = tmp_path / "m.pth", tmp_path / "m.pt"
        plain.write_bytes(pickle.dumps(Payload(canary), protocol=2))
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("m/data.pkl", pickle.dumps(Payload(canary), protocol=2))
        for file in (plain, packed):
            refused(command("predict", "--model", file, *where), file)
        assert not canary.exists()

    def test_image(self, command, tmp_path):
        canary, file = tmp_path / "canary", tmp_path / "a.npy"
        np.save(file, np.array([Payload(canary)], dtype=object), allow_pickle=True)
        refused(command("check", file), file)
        assert not canary.exists()

    def test_recipe(self, command, phantoms, tmp_path):
        canary, file = tmp_path / "canary", tmp_path / "r.yaml"
        file.write_text(f"name: !!python/object/apply:os.system ['touch {canary}']\n")
        where = ("--images", phantoms[2] / "images", "--out", tmp_path / "run")
        refused(command("pretrain", "--recipe", file, *where), file)
        assert not canary.exists()
        assert not (tmp_path / "run").exists()


class TestValues:
    """Rows 12, 13, 19, 20: numbers that are no image or no labels."""

    @pytest.fixture
    def odd(self, tmp_path):
        """One good image and two with values that are not finite."""
        image(tmp_path / "odd" / "a.tif", dtype="float32")
        for name, value in {"b": np.nan, "c": np.inf}.items():
            array = np.ones((40, 36), np.float32)
            array[3, 4] = value
            save_image(tmp_path / "odd" / f"{name}.tif", array)
        return tmp_path / "odd"

    def test_not_finite(self, command, odd, trained, tiny, tmp_path):
        where = ("--out", tmp_path / "run", *tiny(2, backbone="vit"))
        pretraining = command("pretrain", "--preset", "mae2d", "--images", odd, *where)
        for answer in (command("check", odd), pretraining):
            refused(answer, odd / "b.tif", odd / "c.tif", "channel 0 at y 3, x 4")
        assert not (tmp_path / "run" / "model.safetensors").exists()
        out = tmp_path / "out"
        refused(command("predict", "--model", trained[2], odd, "--out", out), odd / "b.tif")
        assert not (out / "b.tif").exists()

    def test_constant_images_and_empty_labels_are_defined(self, command, train, tmp_path):
        for number in range(2):
            save_image(tmp_path / "flat" / f"{number}.tif", np.full((40, 36), 7, np.uint8))
            save_image(tmp_path / "none" / f"{number}.tif", np.zeros((40, 36), np.uint8))
        refused(train(images=tmp_path / "flat", labels=tmp_path / "none"), "0 everywhere")
        one = np.zeros((40, 36), np.uint8)
        one[5, 6] = 1
        save_image(tmp_path / "none" / "1.tif", one)
        answer = train(images=tmp_path / "flat", labels=tmp_path / "none")
        assert answer.code == 0, answer.err
        journal = (tmp_path / "run" / "journal.jsonl").read_text()
        assert "NaN" not in journal
        assert '"loss": null' not in journal
        out = tmp_path / "out"
        answer = command("predict", "--model", tmp_path / "run", tmp_path / "flat", "--out", out)
        assert answer.code == 0, answer.err
        assert len(list(out.iterdir())) == 2

    def test_check_tells_of_odd_content(self, command, tmp_path, tiny):
        save_image(tmp_path / "flat.tif", np.full((40, 36), 7, np.uint8))
        answer = command("check", tmp_path / "flat.tif", *tiny(2, backbone="vit"))
        assert answer.code == 0, answer.err
        assert f"{tmp_path / 'flat.tif'}: all values are equal (7)" in answer.out

    def test_label_values_that_are_no_class(self, command, train, phantoms, tmp_path):
        labels = phantoms[2] / "labels"
        answer = train(labels=labels)
        refused(answer, "nuclei_0", "task.classes")
        assert not (tmp_path / "run" / "model.safetensors").exists()
        images = phantoms[2] / "images"
        answer = command("check", images, "--labels", labels, "--preset", "semantic2d")
        several = [path for path in sorted(labels.iterdir()) if open_labels(path).read().max() > 1]
        assert len(several) > 1
        refused(answer, *several, "task.classes")

    @pytest.mark.parametrize(
        ("labels", "word"),
        [
            (np.full((40, 36), -1, np.int16), "-1"),
            (np.full((40, 36), 0.5, np.float32), "0.5"),
            (np.full((40, 36), 1j, np.complex64), "complex"),
        ],
    )
    def test_labels_that_are_no_ids(self, train, tmp_path, labels, word):
        image(tmp_path / "images" / "a.tif")
        np.save(tmp_path / "a.npy", labels)
        answer = train(images=tmp_path / "images", labels=tmp_path / "a.npy")
        refused(answer, tmp_path / "a.npy", word)
        assert not (tmp_path / "run").exists()

    def test_labels_in_colors(self, train, tmp_path):
        image(tmp_path / "images" / "a.tif")
        array = np.zeros((40, 36, 3), np.uint8)
        array[5:9, 5:9] = (200, 10, 10)
        Picture.fromarray(array).save(tmp_path / "a.png")
        answer = train(images=tmp_path / "images", labels=tmp_path / "a.png")
        refused(answer, tmp_path / "a.png", "channels")

    def test_large_ids_are_kept(self, command, tmp_path):
        ids = np.zeros((20, 20), np.uint32)
        ids[2:8, 2:8], ids[10:15, 10:15] = 70_000, 2**31 + 5
        for side in ("truth", "predicted"):
            save_image(tmp_path / side / "a.tif", ids)
        where = ("--truth", tmp_path / "truth", "--predicted", tmp_path / "predicted")
        answer = command("evaluate", *where, "--metrics", "f1@0.5,dic")
        assert answer.code == 0, answer.err
        assert "1" in answer.out


class TestFiles:
    """Rows 16, 17, 21, 22: files that are damaged, lie, or have another form."""

    def test_every_bad_file_is_listed_at_once(self, command, trained, tmp_path):
        folder = tmp_path / "images"
        good = image(folder / "good.tif").read_bytes()
        bad = {
            "empty.tif": b"",
            "half.tif": good[: len(good) // 3],
            "page.tif": b"<!doctype html><html><body>404</body></html>",
            "renamed.png": good,
        }
        for name, raw in bad.items():
            (folder / name).write_bytes(raw)
        (folder / "folder.tif").mkdir()
        (folder / "lost.tif").symlink_to(folder / "nowhere.tif")
        bad |= {"folder.tif": b"", "lost.tif": b""}
        out = tmp_path / "out"
        refused(command("check", folder), *(folder / name for name in bad))
        # The header of the file that was cut is whole, so its end is missed when it is read.
        cut = bad.pop("half.tif")
        answer = command("predict", "--model", trained[2], folder, "--out", out)
        refused(answer, *(folder / name for name in bad))
        assert not out.exists()
        (tmp_path / "half.tif").write_bytes(cut)
        answer = command("predict", "--model", trained[2], tmp_path / "half.tif", "--out", out)
        refused(answer, tmp_path / "half.tif")
        assert not out.exists()

    def test_bombs(self, command, trained, tmp_path):
        folder = tmp_path / "bombs"
        folder.mkdir()
        size = struct.pack(">II", 100_000, 100_000)
        chunks = [(b"IHDR", size + bytes([8, 0, 0, 0, 0])), (b"IDAT", zlib.compress(bytes(99)))]
        png = b"\x89PNG\r\n\x1a\n"
        for kind, body in [*chunks, (b"IEND", b"")]:
            crc = struct.pack(">I", zlib.crc32(kind + body))
            png += struct.pack(">I", len(body)) + kind + body + crc
        (folder / "a.png").write_bytes(png)
        header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
        npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n"
        (folder / "b.npy").write_bytes(npy)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        out = tmp_path / "out"
        for answer in (
            command("check", folder),
            command("predict", "--model", trained[2], folder, "--out", out),
        ):
            refused(answer, folder / "a.png", folder / "b.npy")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
        assert not out.exists()

    def test_channels_the_network_does_not_see(self, command, trained, tmp_path, tiny):
        folder = tmp_path / "images"
        for name in ("a", "b"):
            save_image(folder / f"{name}.tif", np.ones((5, 40, 36), np.uint8), axes="CYX")
        given = ("--preset", "mae2d", *tiny(2, backbone="vit"))
        for answer in (
            command("check", folder, *given),
            command("pretrain", "--images", folder, "--out", tmp_path / "run", *given),
            command("predict", "--model", trained[2], folder, "--out", tmp_path / "out"),
        ):
            refused(answer, folder / "a.tif", folder / "b.tif", "1 channel", "5")
        assert not (tmp_path / "run").exists()
        assert not (tmp_path / "out").exists()

    def test_axes_are_never_guessed(self, command, trained, tmp_path):
        np.save(tmp_path / "a.npy", np.ones((7, 40, 36), np.uint8))
        where = (tmp_path / "a.npy", "--out", tmp_path / "out")
        refused(command("predict", "--model", trained[2], *where), tmp_path / "a.npy", "data.axes")
        Picture.fromarray(np.zeros((40, 36), np.uint8)).save(tmp_path / "b.png")
        where = (tmp_path / "b.png", "--out", tmp_path / "out")
        refused(command("predict", "--model", trained[3], *where), tmp_path / "b.png", "3 spatial")

    def test_image_and_labels_of_different_sizes(self, train, tmp_path):
        image(tmp_path / "i" / "a.tif", 40, 36)
        image(tmp_path / "l" / "a.tif", 36, 40)
        answer = train(images=tmp_path / "i", labels=tmp_path / "l")
        refused(answer, tmp_path / "l" / "a.tif", "(40, 36)", "(36, 40)")

    def test_truth_and_prediction_of_different_sizes(self, command, tmp_path):
        image(tmp_path / "t" / "a.tif", 40, 36)
        image(tmp_path / "p" / "a.tif", 36, 40)
        answer = command("evaluate", "--truth", tmp_path / "t", "--predicted", tmp_path / "p")
        refused(answer, tmp_path / "p" / "a.tif", "(40, 36)", "(36, 40)")

    @pytest.mark.parametrize("shape", [(1, 50), (3, 4), (1, 1), (33, 31), (1, 9, 9), (11, 3, 40)])
    def test_images_of_any_size_keep_it(self, command, trained, tmp_path, shape):
        file = tmp_path / "a.tif"
        save_image(file, np.ones(shape, np.uint8), axes="ZYX"[-len(shape) :])
        out = tmp_path / "out"
        answer = command("predict", "--model", trained[len(shape)], file, "--out", out)
        assert answer.code == 0, answer.err
        assert open_image(out / "a.tif", ndim=len(shape)).shape == (1, *shape)


class TestNames:
    """Row 23: names that are odd, too long, or lead to one output."""

    def test_two_inputs_of_one_output(self, command, trained, tmp_path):
        first, second = image(tmp_path / "a.tif"), tmp_path / "a.png"
        Picture.fromarray(np.zeros((40, 36), np.uint8)).save(second)
        out = tmp_path / "out"
        answer = command("predict", "--model", trained[2], first, second, "--out", out)
        refused(answer, first, second)
        assert not out.exists()

    def test_inputs_are_not_overwritten(self, command, trained, tmp_path):
        file = image(tmp_path / "images" / "a.tif")
        before = file.read_bytes()
        for out in (tmp_path / "images", tmp_path / "images" / ".." / "images"):
            refused(command("predict", "--model", trained[2], file, "--out", out), file, "--out")
        assert file.read_bytes() == before

    @pytest.mark.parametrize("name", ["-a", "a b", "zellen-ä-細胞", "a" * 251, "a[1]", "a.b"])
    def test_odd_names_are_kept(self, command, trained, tmp_path, name, monkeypatch):
        image(tmp_path / "short.tif").rename(tmp_path / f"{name}.tif")
        monkeypatch.chdir(tmp_path)
        where = ("--out", "out", "--", f"{name}.tif")
        answer = command("predict", "--model", trained[2], *where)
        assert answer.code == 0, answer.err
        assert [path.name for path in Path("out").glob("*.tif")] == [f"{name}.tif"]

    def test_scores_of_a_name_that_is_too_long(self, command, trained, tmp_path):
        file = image(tmp_path / "short.tif").rename(tmp_path / f"{'a' * 251}.tif")
        where = ("--out", tmp_path / "out", "--scores", file)
        answer = command("predict", "--model", trained[2], *where)
        assert answer.code == 2
        assert "name too long" in answer.err
        assert "Traceback" not in answer.err

    def test_loops_of_links(self, command, tmp_path):
        first, second = tmp_path / "a.tif", tmp_path / "b.tif"
        first.symlink_to(second)
        second.symlink_to(first)
        refused(command("check", first), first)
        refused(command("check", tmp_path), first, second)

    def test_a_name_that_is_no_text(self, command, tmp_path):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.tif")
        Path(path).write_bytes(b"")
        assert command("check", path).code == 2

    def test_out_is_a_file(self, command, trained, train, phantoms, tmp_path):
        (tmp_path / "run").write_text("mine")
        answer = command(
            "predict", "--model", trained[2], phantoms[2] / "images", "--out", tmp_path / "run"
        )
        for each in (answer, train()):
            refused(each, tmp_path / "run", "another --out")
        assert (tmp_path / "run").read_text() == "mine"

    def test_many_files_with_few_handles(self, command, trained, tmp_path):
        for number in range(120):
            image(tmp_path / "many" / f"{number}.tif", 8, 8)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # The descriptors of this process, and fewer than one for each file.
        used = len(list(Path("/proc/self/fd").iterdir()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 90, hard))
        try:
            where = (tmp_path / "many", "--out", tmp_path / "out")
            answer = command("predict", "--model", trained[2], *where)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert answer.code == 0, answer.err
        assert len(list((tmp_path / "out").iterdir())) == 120


class TestChanges:
    """Row 24: files that change while they are used."""

    @pytest.mark.parametrize("change", ["delete", "replace", "touch"])
    def test_during_prediction(self, trained, tmp_path, change, monkeypatch):
        files = [image(tmp_path / "images" / f"{name}.tif") for name in "ab"]
        check = api_files.check_unchanged

        def change_the_second(before, pairs):
            """While the second image is in work; it is read before the first one is done."""
            if str(files[1]) in before:
                if change == "delete":
                    files[1].unlink()
                elif change == "replace":
                    image(files[1], 50, 50)
                else:
                    os.utime(files[1], ns=(1, 1))
            check(before, pairs)

        monkeypatch.setattr(api_files, "check_unchanged", change_the_second)
        out = tmp_path / "out"
        with pytest.raises(DataError, match=r"b\.tif"):
            api.predict_files(trained[2], tmp_path / "images", out=out)
        # What --resume needs is hidden.
        assert [path.name for path in out.iterdir() if path.name[0] != "."] == ["a.tif"]

    def test_during_training(self, train, tmp_path, monkeypatch):
        for part in ("i", "l"):
            save_image(tmp_path / part / "a.tif", np.ones((40, 36), np.uint8))

        def fit(objective, batches, **_):
            os.utime(tmp_path / "i" / "a.tif", ns=(1, 1))
            next(iter(batches(0)))

        monkeypatch.setattr(runs, "fit", fit)
        answer = train(images=tmp_path / "i", labels=tmp_path / "l")
        assert answer.code == 2, answer.err
        assert str(tmp_path / "i" / "a.tif") in answer.err
        assert "changed" in answer.err


class TestRecipes:
    """Row 32: every mistake at once, the nearest name, before data is read."""

    def test_unknown_and_wrong_fields(self, command, tmp_path):
        where = ("--images", tmp_path / "none", "--labels", tmp_path / "none", "--out", tmp_path)
        settings = ("--set", "train.stpes=5", "--set", "dta.crop=[1]", "--set", "train.lr")
        answer = command("train", "--preset", "cells", *where, *settings)
        assert answer.code == 2
        for word in ("train.stpes", "'train.steps'", "dta.crop", "'data.crop'", "KEY=VALUE"):
            assert word in answer.err

    def test_values_out_of_range(self, command, tmp_path):
        where = ("--images", tmp_path / "none", "--labels", tmp_path / "none", "--out", tmp_path)
        settings = ["train.lr=-1", "train.batch_size=many", "data.foreground=2", "infer.tile=[9]"]
        given = [part for line in settings for part in ("--set", line)]
        answer = command("train", "--preset", "cells", *where, *given)
        assert answer.code == 2
        for word in ("train.lr", "-1", "train.batch_size", "many", "data.foreground"):
            assert word in answer.err

    def test_options_of_components(self, command, tmp_path):
        where = ("--images", tmp_path / "none", "--labels", tmp_path / "none", "--out", tmp_path)
        settings = [
            "data.augment=[{name: gama}, {name: noise, sdt: 1}]",
            "data.normalize={name: percentile, low: 99, high: 1}",
            "model.backbone.widht=3",
            "task.flow_wieght=1",
            "train.optimizer=adammw",
            "data.crop=[0, 32]",
        ]
        given = [part for line in settings for part in ("--set", line)]
        answer = command("train", "--preset", "cells", *where, *given)
        refused(
            answer, "'gamma'", "'std'", "low=99", "'width'", "'flow_weight'", "adamw", "[0, 32]"
        )
        assert str(tmp_path / "none") not in answer.err

    def test_mistakes_of_every_kind_at_once(self, command, tmp_path):
        where = ("--images", tmp_path / "none", "--labels", tmp_path / "none", "--out", tmp_path)
        settings = [
            "train.stpes=5",
            "train.lr=-1",
            "infer.tile=[9]",
            "data.augment=[{name: gama}]",
            "task.flow_wieght=1",
        ]
        given = [part for line in settings for part in ("--set", line)]
        words = ("'train.steps'", "train.lr", "-1", "infer.tile", "'gamma'", "'flow_weight'")
        refused(command("train", "--preset", "cells", *where, *given), *words)
        file = tmp_path / "r.yaml"
        text = load("cells").to_yaml()
        file.write_text(text.replace("lr: 0.001", "lr: soon").replace("name: invert", "name: inv"))
        given = ("--recipe", file, *where, "--set", "train.stpes=5", "--set", "task.steps=0")
        words = ("train.lr", "soon", "'invert'", "'train.steps'", "steps=0")
        refused(command("train", *given), *words)

    @pytest.mark.filterwarnings("ignore:Initializing zero-element")
    @pytest.mark.parametrize(
        "setting",
        [
            "model.backbone.width=0",
            "model.backbone.width=-4",
            "model.backbone.width=wide",
            "model.backbone.depth=0",
            "model.backbone={name: vit, patch: 0}",
            "model.backbone={name: vit, dim: 10, heads: 3}",
            "model.decoder=none",
            "train.optimizer={name: adamw, betas: 3}",
            "train.optimizer={name: adamw, weight_decay: much}",
            "data.normalize={name: percentile, low: a}",
            "data.crop=[]",
            "data.crop=[8, 8, 8, 8]",
            "task=flows.py:Missing",
        ],
    )
    def test_values_that_no_component_can_use(self, command, tmp_path, setting):
        where = ("--images", tmp_path / "none", "--labels", tmp_path / "none", "--out", tmp_path)
        answer = command("train", "--preset", "cells", *where, "--set", setting)
        assert answer.code == 2, answer.err
        assert "Traceback" not in answer.err
        assert f"{tmp_path / 'none'}:" not in answer.err, "the recipe comes before the data"

    def test_wrong_files(self, command, tmp_path):
        file = tmp_path / "r.yaml"
        where = ("--images", tmp_path, "--labels", tmp_path, "--out", tmp_path / "run")
        for text in ("", "- 1", "a: &x [1]\nb: *x\n", "a: [", "\x00"):
            file.write_text(text)
            assert command("train", "--recipe", file, *where).code == 2, text
        refused(command("train", "--preset", "cels", *where), "'cells'")
        refused(command("presets", "cels"), "'cells'")

    def test_the_other_verb(self, command, phantoms, tmp_path):
        where = ("--images", phantoms[2] / "images", "--out", tmp_path / "run")
        refused(command("pretrain", "--preset", "cells", *where), "unmask train")
        labels = ("--labels", phantoms[2] / "labels")
        refused(command("train", "--preset", "mae2d", *where, *labels), "unmask pretrain")

    def test_evaluation(self, command, phantoms, tmp_path):
        labels = phantoms[2] / "labels"
        copy = shutil.copytree(labels, tmp_path / "copy")
        where = ("--truth", labels, "--predicted", copy)
        answer = command("evaluate", *where, "--metrics", "f2")
        assert answer.code == 2
        assert "metric='f2'" in answer.err
        assert ", f1," in answer.err
        refused(command("evaluate", *where, "--set", "data.crop=3"), "data.label_suffix")
        refused(command("evaluate", *where, "--out", tmp_path / "r.pdf"), "r.pdf", ".json")

    @pytest.mark.parametrize(
        "given",
        [
            ("train", "--preset", "cells"),
            ("train", "--images", "a", "--labels", "b", "--out", "c"),
            ("predict", "--nonsense"),
            ("pretrain", "--preset", "mae2d", "--images", "a", "--out", "b", "--devices", "0"),
            ("nothing",),
        ],
    )
    def test_usage(self, command, given):
        answer = command(*given)
        assert answer.code == 2
        assert "Traceback" not in answer.err


def test_api_predict_with_settings_beside_a_predictor(trained):
    predictor = load_predictor(trained[2])
    with pytest.raises(ValueError, match="settings"):
        api.predict(predictor, np.zeros((9, 9), np.uint8), settings=["infer.tta=true"])
    assert load("cells").infer.tta is False
