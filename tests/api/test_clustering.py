"""``unmask cluster`` from model file and volumes to labels, statistics and pictures."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from unmask import api
from unmask.api import cluster_forecast
from unmask.blocks import engine
from unmask.checkpoint import lock_run
from unmask.clustering.encoder import DenseFile, Features, load_encoder
from unmask.clustering.names import make_template, read_classes, write_template
from unmask.errors import CheckpointError, DataError, RecipeError
from unmask.io import open_image, open_labels, save_image
from unmask.space.random import generator

BACKBONE = "{name: vit, patch: 3, dim: 24, depth: 2, heads: 2, position_scale: 0.08}"
SMALL = [
    f"model.backbone={BACKBONE}",
    "data.crop=[18, 18]",
    "data.normalize={name: window, low: 0, high: 255}",
    "method.decoder_dim=24",
    "method.decoder_depth=1",
    "method.decoder_heads=2",
    "train.steps=12",
    "train.batch_size=8",
    "train.precision='32'",
    "infer.precision='32'",
]


def textured(shape, seed=0):
    """Stripes, noise and flat in thirds along the last axis, and which is where."""
    rng = generator(seed, "textures")
    kind = np.minimum(3 * np.arange(shape[-1]) // shape[-1], 2)
    kind = np.broadcast_to(kind, shape)
    rows = np.indices(shape)[-2]
    image = np.select(
        [kind == 0, kind == 1], [160 + 80 * (rows // 2 % 2), rng.integers(0, 90, shape)], 128
    )
    return image.astype(np.uint8), kind.astype(np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    for number, name in enumerate(("a", "b")):
        image, kind = textured((2, 33, 51), seed=number)
        save_image(folder / "images" / f"{name}.tif", image, spacing=(1, 1, 1), axes="ZYX")
        save_image(folder / "truth" / f"{name}.tif", kind, axes="ZYX")
    return folder


@pytest.fixture(scope="module")
def model(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "pre"
    return api.pretrain("maester", images=files / "images", out=out, settings=SMALL).model


@pytest.fixture(scope="module")
def done(files, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("clustered") / "first"
    return api.cluster(model, files / "images", out=out, classes=6, say=lambda _: None)


def test_writes_labels_centres_statistics_and_pictures(done, files):
    assert [path.name for path in done.labels] == ["a.tif", "b.tif"]
    labels = open_labels(done.labels[0], ndim=3)
    source = open_image(files / "images" / "a.tif", ndim=3)
    assert labels.shape == source.shape
    assert labels.spacing == source.spacing
    values = labels.read()
    assert values.min() >= 1
    assert values.max() <= 6
    rows = list(csv.DictReader(done.statistics.open()))
    assert len(rows) == 12
    of_a = [row for row in rows if row["volume"] == "a"]
    assert [int(row["voxels"]) for row in of_a] == np.bincount(values.ravel(), minlength=7)[
        1:
    ].tolist()
    assert sum(float(row["share"]) for row in of_a) == pytest.approx(1, abs=1e-4)
    image = source.read() / 255
    for row in of_a:
        inside = image[values == int(row["label"])]
        if inside.size:
            assert float(row["mean_intensity"]) == pytest.approx(inside.mean(), abs=1e-3)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in done.sheets)
    assert (done.centers.parent / "names.yaml").is_file()
    assert not (done.centers.parent / ".predict").exists()


def test_clusters_are_the_textures(done, files):
    found = api.evaluate_clusters(truth=files / "truth", predicted=done.labels)
    assert found.summary["dice majority (oracle)"]["mean"] > 0.8
    assert not any("transferred" in name for name in found.summary)


@pytest.mark.parametrize("mapping", ["transferred", "transferred_dice"])
def test_transferred_mapping_is_fitted_elsewhere(done, files, mapping):
    found = api.evaluate_clusters(
        truth=[files / "truth" / "b.tif"],
        predicted=[done.labels[1]],
        fit_truth=[files / "truth" / "a.tif"],
        fit_predicted=[done.labels[0]],
        mappings=[mapping],
    )
    assert {name.rpartition(" ")[2] for name in found.images[0] if name != "name"} == {mapping}
    assert found.images[0][f"dice {mapping}"] > 0.7


def test_same_seed_same_labels(done, files, model, tmp_path):
    again = api.cluster(model, files / "images", out=tmp_path, classes=6, say=lambda _: None)
    for one, other in zip(done.labels, again.labels, strict=True):
        assert np.array_equal(open_labels(one).read(), open_labels(other).read())


def test_centres_and_names_apply_to_other_volumes(done, files, model, tmp_path, command):
    (tmp_path / "names.yaml").write_text("stripes: [2, 3]\nbackground: 1\nrest: [4]\n")
    out = tmp_path / "named"
    answer = command(
        "cluster", files / "images" / "b.tif", "--model", model, "--out", out,
        "--centers", done.centers, "--names", tmp_path / "names.yaml",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    before = open_labels(done.labels[1]).read()
    wanted = np.array([0, 0, 1, 1, 2, 0, 0])[before]
    assert np.array_equal(open_labels(out / "b.tif").read(), wanted)
    names = {row["name"]: row["clusters"] for row in csv.DictReader((out / "clusters.csv").open())}
    assert names == {"background": "1 5 6", "stripes": "2 3", "rest": "4"}


@pytest.mark.parametrize("suffix", [".ome.zarr", ".h5", ".nii.gz", ".ome.tif"])
def test_thick_slices_in_every_format_get_the_same_labels(done, files, model, tmp_path, suffix):
    volume = open_image(files / "images" / "b.tif", ndim=3).read()
    given, spacing = tmp_path / "in" / f"b{suffix}", (30.0, 6.0, 6.0)
    save_image(given, volume, axes="CZYX", spacing=spacing, unit="nm")
    options = api.ClusterOptions(centers=done.centers)
    found = api.cluster(model, given, out=tmp_path / "out", options=options, say=lambda _: None)
    written = open_labels(found.labels[0], ndim=3)
    assert np.array_equal(written.read(), open_labels(done.labels[1], ndim=3).read())
    assert written.spacing == pytest.approx(spacing)


def test_wrong_axes_are_told(done, model, tmp_path, command):
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 6, 7, 8), np.uint8))
    where = ("cluster", tmp_path / "a.npy", "--model", model, "--out", tmp_path / "out")
    answer = command(*where, "--centers", done.centers)
    assert answer.code == 2
    assert "a.npy" in answer.err
    assert "axes" in answer.err
    assert not list((tmp_path / "out").glob("*.tif"))


def test_plain_images_and_one_axis_more(done, files, model, tmp_path):
    image, _ = textured((30, 45))
    save_image(tmp_path / "in" / "flat.png", image)
    options = api.ClusterOptions(centers=done.centers)
    flat = api.cluster(
        model, tmp_path / "in", out=tmp_path / "out", options=options, say=lambda _: None
    )
    assert open_labels(flat.labels[0]).shape == (1, 30, 45)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_other_types_are_told_or_normalized(files, model, tmp_path, dtype):
    image = textured((2, 21, 40))[0].astype(dtype) * 40 + 300
    save_image(tmp_path / "in" / "wide.tif", image, axes="ZYX")
    with pytest.raises(DataError, match=r"wide\.tif.*everywhere after normalization"):
        api.cluster(model, tmp_path / "in", out=tmp_path / "out", classes=3)
    found = api.cluster(
        model,
        tmp_path / "in",
        out=tmp_path / "out",
        classes=3,
        settings=["data.normalize={name: percentile}"],
        say=lambda _: None,
    )
    assert len(np.unique(open_labels(found.labels[0], ndim=3).read())) == 3


def test_volume_smaller_than_a_window_and_constant_blocks(model, tmp_path):
    image = np.full((1, 5, 7), 9, np.uint8)
    image[0, 3:, 4:] = 200
    save_image(tmp_path / "in" / "tiny.tif", image, axes="ZYX")
    found = api.cluster(model, tmp_path / "in", out=tmp_path / "out", classes=2, say=lambda _: None)
    assert open_labels(found.labels[0], ndim=3).shape == (1, 1, 5, 7)


def test_results_are_kept_and_a_finished_run_is_not_repeated(
    done, files, model, tmp_path, monkeypatch, command
):
    out = tmp_path / "out"
    images = sorted((files / "images").iterdir())[:1]
    words = ("cluster", *images, "--model", model, "--out", out, "--quality", "draft")
    assert command(*words, "--classes", 2).code == 0
    before = {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
    again = command(*words, "--classes", 3)
    assert again.code == 2
    assert "--overwrite" in again.err
    with monkeypatch.context() as patch:
        patch.setattr("unmask.clustering.assign.CenterLabeler.label", None)
        patch.setattr("unmask.api.clustering.fit", None)
        resumed = command(*words, "--classes", 2, "--resume")
    assert resumed.code == 0, resumed.err
    assert "this run is finished" in resumed.out
    assert {path: path.read_bytes() for path in before} == before
    assert not (out / ".predict").exists()
    other = command(*words, "--classes", 3, "--overwrite")
    assert other.code == 0, other.err
    assert open_labels(out / "a.tif").read().max() == 3


@pytest.mark.parametrize(("quality", "faster"), [("exact", True), ("draft", False)])
def test_the_forecast_names_the_time_and_a_faster_quality(model, quality, faster, monkeypatch):
    monkeypatch.setattr(cluster_forecast, "estimate_seconds", lambda *_: 7200.0)
    said: list[str] = []
    dense = load_encoder(model, (), say=said.append).dense(Features(quality))
    cluster_forecast.report_needs(dense, [], said.append)
    assert "about 2 h" in said[-1]
    assert ("--quality draft" in said[-1]) == faster


def test_a_refusal_leaves_no_folder(done, files, model, tmp_path, command):
    (tmp_path / "names.yaml").write_text("a: [99]\n")
    where = ("cluster", files / "images", "--model", model, "--out", tmp_path / "new" / "out")
    for more in (
        ("--centers", tmp_path / "none.safetensors"),
        ("--centers", done.centers, "--names", tmp_path / "names.yaml"),
        ("--classes", 2, "--workers", "processes:0"),
        ("--centers", model),
    ):
        answer = command(*where, *more)
        assert answer.code == 2, more
        assert not (tmp_path / "new").exists(), more


def test_wrong_requests(done, files, model, tmp_path, command):
    quiet = {"say": lambda _: None, "out": tmp_path / "out"}
    images = files / "images"
    with pytest.raises(RecipeError, match="neither"):
        api.cluster(model, images, **quiet)
    options = api.ClusterOptions(centers=done.centers)
    with pytest.raises(RecipeError, match="both"):
        api.cluster(model, images, classes=3, options=options, **quiet)
    options = api.ClusterOptions(centers=done.centers, quality="fast")
    with pytest.raises(CheckpointError, match="quality 'exact', not 'fast'"):
        api.cluster(model, images, options=options, **quiet)
    with pytest.raises(CheckpointError, match="another model file"):
        api.cluster(model, images, options=api.ClusterOptions(centers=model), **quiet)
    save_image(tmp_path / "black" / "black.tif", np.zeros((1, 3, 4), np.uint8), axes="ZYX")
    with pytest.raises(DataError, match=r"black\.tif.*structure"):
        api.cluster(model, tmp_path / "black", classes=2, **quiet)
    save_image(tmp_path / "few" / "few.tif", np.eye(2, 3, dtype=np.uint8)[None], axes="ZYX")
    with pytest.raises(DataError, match=r"few\.tif: k-means: .*Ask for at most 6 clusters"):
        api.cluster(model, tmp_path / "few", classes=40, **quiet)
    with pytest.raises(RecipeError, match=r"train\.steps"):
        api.cluster(model, images, classes=2, settings=["train.steps=3"], **quiet)
    answer = command("cluster", images, "--model", model, "--out", tmp_path / "x")
    assert answer.code == 2
    assert "--classes K" in answer.err
    where = ("cluster", images, "--model", model, "--classes", 2, "--out", tmp_path / "x")
    for option, value in (("--device", "cuda:99"), ("--workers", "processes:0")):
        answer = command(*where, option, value)
        assert answer.code == 2
        assert f"{option} {value}: expected" in answer.err
    assert not list((tmp_path / "x").glob("*.tif"))


def test_workers_get_the_device_that_was_asked_for(model, monkeypatch):
    seen = {}

    def load(path, settings, **more):
        seen.update(more)
        return load_encoder(path, settings)

    monkeypatch.setattr("unmask.clustering.encoder.load_encoder", load)
    DenseFile(str(model), (), Features("draft"), device="cuda:1")()
    assert seen == {"allow_code": False, "device": "cuda:1"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1, 1]", ", line 1: expected each cluster once, found cluster 1, which line 1 has"),
        ("b: 2\na: [9]", ", line 2: expected numbers of clusters from 1 to 6, found the number 9."),
        ("- 3", ": expected YAML with lines such as 'nucleus: [3, 5]', found a list."),
        ("a: [x]", ", line 1: expected numbers of clusters from 1 to 6, found text."),
        (":", ": expected YAML, found a mistake (expected <block end>, but found ':')."),
        ("a:", ", line 1: expected numbers of clusters from 1 to 6, found nothing."),
        ("", ": expected YAML with lines such as 'nucleus: [3, 5]', found nothing."),
        ("a: [1]\nb: [1]", ", line 2: expected each cluster once, found cluster 1, which line 1"),
        ("a: [1]\n\na: [2]", ", line 3: expected each name once, found the name of line 1 again."),
        ("a: [1\nb: 2", ", line 2: expected YAML, found a mistake (expected ',' or ']', but got"),
        ("secret\x00", ": expected YAML, found a mistake (the character U+0000)."),
    ],
)
def test_names_that_do_not_fit(tmp_path, text, problem):
    path = tmp_path / "names.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as error:
        read_classes(path, 6)
    assert str(error.value).startswith(f"{path}{problem}")


@pytest.mark.parametrize(
    "text",
    ["PASSWORD" * 500, "a: PASSWORD\n", "a: {PASSWORD: 1}\n", "PASSWORD: [\n\n", "- PASSWORD"],
)
def test_another_file_given_as_names_is_not_printed(tmp_path, text):
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(RecipeError) as error:
        read_classes(path, 6)
    assert "PASSWORD" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 200


def test_names_that_are_missing(tmp_path):
    (tmp_path / "names.yaml").write_text("a: 1")
    with pytest.raises(RecipeError, match=r"found no such file\. Did you mean .*names\.yaml\?"):
        read_classes(tmp_path / "name.yaml", 6)


def test_segmenters_without_tokens_are_told(trained, phantoms, tmp_path):
    with pytest.raises(RecipeError, match=r"patch tokens.*unmask pretrain") as error:
        api.cluster(trained[2], phantoms[2] / "images", out=tmp_path, classes=2)
    assert str(trained[2]) in str(error.value)


def test_evaluation_on_the_command_line(done, files, tmp_path, command):
    report = tmp_path / "report.json"
    answer = command(
        "evaluate", "--truth", files / "truth", "--predicted", done.labels[0].parent,
        "--mapping", "all", "--out", report,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    found = json.loads(report.read_text())
    assert "dice/2 one_to_one (oracle)" in found["summary"]
    answer = command(
        "evaluate", "--truth", files / "truth", "--predicted", done.labels[0].parent,
        "--mapping", "majority", "--ignore", 2, "--out", report,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    summary = json.loads(report.read_text())["summary"]
    assert "dice/1 majority (oracle)" in summary
    assert "dice/2 majority (oracle)" not in summary
    answer = command(
        "evaluate", "--truth", files / "truth", "--predicted", done.labels[0].parent,
        "--mapping", "transferred",
    )  # fmt: skip
    assert answer.code == 2
    assert "--fit-truth" in answer.err


def test_resume_after_an_end_keeps_blocks(model, files, tmp_path, monkeypatch):
    calls = []
    plain = engine.label_block

    def counting(*args, **named):
        calls.append(args[-1])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*args, **named)

    monkeypatch.setattr("unmask.clustering.dense._BLOCK_BYTES", 4 * 24 * 33 * 24)
    source = [files / "images" / "a.tif"]
    whole = api.cluster(model, source, out=tmp_path / "whole", classes=4, say=lambda _: None)
    monkeypatch.setattr(engine, "label_block", counting)
    with pytest.raises(KeyboardInterrupt):
        api.cluster(model, source, out=tmp_path / "out", classes=4, say=lambda _: None)
    finished = calls[0]
    calls[:] = [-1, -1]
    options = api.ClusterOptions(resume=True)
    again = api.cluster(
        model, source, out=tmp_path / "out", classes=4, options=options, say=lambda _: None
    )
    assert finished not in calls
    assert len(calls) > 4
    assert again.labels[0].read_bytes() == whole.labels[0].read_bytes()
    assert again.statistics.read_text() == whole.statistics.read_text()


@pytest.fixture
def ended(model, files, tmp_path, monkeypatch):
    """A request, what is left of a run that was ended in its second volume, blocks computed."""
    calls, ended_at = [], ["b"]
    plain = engine.label_block

    def counting(labeler, grid, folder, number, **named):
        source = labeler.volume().image.name
        if ended_at == [source] and any(name == source for name, _ in calls):
            raise KeyboardInterrupt
        calls.append((source, number))
        return plain(labeler, grid, folder, number, **named)

    monkeypatch.setattr("unmask.clustering.dense._BLOCK_BYTES", 4 * 24 * 33 * 24)
    monkeypatch.setattr(engine, "label_block", counting)
    out = tmp_path / "out"
    request = ("cluster", files / "images", "--model", model, "--quality", "draft", "--out", out)
    with pytest.raises(KeyboardInterrupt):
        api.cluster(
            model,
            files / "images",
            out=out,
            classes=4,
            options=api.ClusterOptions(quality="draft"),
            say=lambda _: None,
        )
    ended_at.clear()
    assert (out / "a.tif").exists()
    return request, out, calls


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_resume_computes_no_finished_volume_again(ended, command, tmp_path):
    request, out, calls = ended
    before = contents(out)
    finished = list(calls)
    assert {name for name, _ in finished} == {"a", "b"}
    calls.clear()
    answer = command(*request, "--classes", 4, "--resume")
    assert answer.code == 0, answer.err
    assert f"a.tif -> {out / 'a.tif'} (finished before)" in answer.out
    assert "centers fitted" not in answer.out
    assert calls
    assert not set(calls) & set(finished)
    assert before.items() <= contents(out).items()
    whole = tmp_path / "whole"
    answer = command(*request[:-1], whole, "--classes", 4)
    assert answer.code == 0, answer.err
    assert contents(out) == contents(whole)
    assert not (out / ".predict").exists()
    # What it takes is said of all volumes before anything is computed.
    fitted = answer.out.index("centers fitted")
    assert answer.out.count(" blocks of ", 0, fitted) == answer.out.count(" blocks of ") == 2


def test_resume_with_another_request_changes_nothing(ended, done, command):
    request, out, calls = ended
    before, finished = contents(out), list(calls)
    wrong = {
        "clusters: 4 before, 5 now": ("--classes", 5),
        "centres: None before": ("--centers", done.centers, "--quality", "exact"),
        "precision: '32' before": ("--classes", 4, "--set", "infer.precision=bf16"),
        "seed: 0 before, 1 now": ("--classes", 4, "--seed", 1),
    }
    for message, options in wrong.items():
        answer = command(*request, *options, "--resume")
        assert answer.code == 2
        assert f"{out}: expected --resume with what the ended run was given" in answer.err
        assert message in answer.err
    assert contents(out) == before
    assert calls == finished


def test_a_second_run_into_a_folder_changes_nothing(ended, command):
    request, out, _ = ended
    before = contents(out)
    for option in ((), ("--resume",)):
        with lock_run(out / ".predict", report=lambda _: None):
            answer = command(*request, "--classes", 5, *option)
        assert answer.code == 2
        assert "at work in it" in answer.err
        assert contents(out) == before


def test_chunks_that_are_not_there_are_told(done, model, tmp_path, command):
    path = tmp_path / "v.zarr"
    save_image(path, textured((2, 600, 40))[0], axes="ZYX")
    lost = sorted(each for each in (path / "0" / "c").rglob("*") if each.is_file())[-1]
    lost.unlink()
    answer = command(
        "cluster", path, "--model", model, "--out", tmp_path / "out", "--classes", 2,
        "--quality", "draft",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert f"chunks are not there, the first one is {lost.relative_to(path / '0')}" in answer.out


def test_a_template_of_another_number_is_renewed(tmp_path):
    path = tmp_path / "names.yaml"
    assert write_template(path, 12) == ""
    assert write_template(path, 3) == ""
    assert path.read_text() == make_template(3)
    path.write_text(make_template(3).replace("class_2", "nucleus"))
    edited = path.read_text()
    assert write_template(path, 5).startswith(f"{path}: changed by hand, so it stays")
    assert path.read_text() == edited


def test_volumes_for_a_preset_of_sections_are_told(files, tmp_path, command):
    where = ("pretrain", "--preset", "maester_small", "--out", tmp_path / "run")
    answer = command(*where, "--images", files / "images")
    assert answer.code == 2
    assert "a.tif: expected 2 spatial axes, found 3" in answer.err
    assert "--set data.sections=[0]" in answer.err
    flat = tmp_path / "flat"
    flat.mkdir()
    np.save(flat / "more.npy", np.zeros((4, 5, 6, 7, 8), np.uint8))
    answer = command(*where, "--images", flat)
    assert answer.code == 2
    assert "data.sections" not in answer.err


def test_a_grid_of_the_models_own(done, files, model, tmp_path):
    """Features are those of the model's voxel size; labels lie on the grid of the file."""
    volume = open_image(files / "images" / "a.tif", ndim=3).read()
    one = tmp_path / "a.tif"
    save_image(one, volume, spacing=(3, 2, 2), unit="um", axes="CZYX")

    def run(name, *settings, **options):
        out = tmp_path / name
        given = {"classes": 6, "options": api.ClusterOptions(quality="draft", **options)}
        found = api.cluster(
            model, one, out=out, settings=settings, say=lambda _: None, **given
        ).labels[0]
        return open_labels(found, ndim=3)

    plain, still = run("plain"), run("still", "data.spacing=[3.0,2.0,2.0]")
    assert np.array_equal(plain.read(), still.read())
    coarse = run("coarse", "data.spacing=[3.0,4.0,4.0]")
    assert coarse.shape == plain.shape
    assert coarse.spacing == plain.spacing
    assert coarse.read().min() >= 1
    assert not np.array_equal(coarse.read(), plain.read())
    elsewhere = run("elsewhere", "data.spacing=[3.0,4.0,4.0]", cluster="threads:2")
    assert np.array_equal(coarse.read(), elsewhere.read())
    bright = volume.max() - 1
    cropped = run("cropped", f"data.foreground_crop={bright}").read()
    assert 0 < (cropped == 0).sum() < cropped.size
    options = api.ClusterOptions(centers=tmp_path / "coarse" / "clusters.safetensors")
    with pytest.raises(CheckpointError, match="spacing"):
        api.cluster(model, one, out=tmp_path / "no", options=options, say=lambda _: None)


def test_volumes_of_one_mean_share_clusters_whatever_their_brightness(
    files, model, tmp_path, command
):
    """Each volume in a folder of its own: the mean is that of the volume, not of the run."""
    image = open_image(files / "images" / "a.tif", ndim=3).read()[0]
    for name, values in {"as_it_is": image, "darker": (0.7 * image).astype(np.uint8)}.items():
        save_image(tmp_path / name / "v.tif", values, spacing=(1, 1, 1), axes="ZYX")

    def labels(name, *options):
        out = tmp_path / f"{name} {len(options)}"
        answer = command(
            "cluster",
            "--model",
            model,
            tmp_path / name,
            "--out",
            out,
            "--quality",
            "fast",
            *options,
        )
        assert answer.code == 0, answer.err
        return open_labels(out / "v.tif", ndim=3).read(), out / "clusters.safetensors"

    here, centers = labels("as_it_is", "--classes", 3)
    darker, _ = labels("darker", "--centers", centers)
    here_less, centers = labels("as_it_is", "--classes", 3, "--common-mean")
    darker_less, _ = labels("darker", "--centers", centers, "--common-mean")
    assert (darker_less == here_less).mean() > 0.9
    assert (darker == here).mean() < 0.8
    refused = command(
        "cluster",
        "--model",
        model,
        tmp_path / "darker",
        "--centers",
        centers,
        "--quality",
        "fast",
        "--out",
        tmp_path / "no",
    )
    assert refused.code == 2
    assert "common_mean True, not None" in refused.err


def test_workers_elsewhere_turn_windows_too(files, model, tmp_path):
    """Labels of two processes are those of one, and not those without turns."""
    plain = api.ClusterOptions(quality="draft", rotations=True, common_mean=True)
    found = [
        open_labels(
            api.cluster(
                model,
                files / "images" / "a.tif",
                out=tmp_path / name,
                classes=6,
                options=options,
                say=lambda _: None,
            ).labels[0]
        ).read()
        for name, options in {
            "here": plain,
            "elsewhere": replace(plain, cluster="processes:2"),
            "not turned": replace(plain, rotations=False),
        }.items()
    ]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
