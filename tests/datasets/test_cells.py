"""Archives of cells and nuclei in the layouts of their owners, and what becomes of them."""

import csv
import io
import json
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from unmask.datasets import find_set, prepare, submit
from unmask.errors import DataError, RecipeError, SaveError
from unmask.io import open_image, save_image

SIZE = (12, 14)


def labels_of(*ids):
    labels = np.zeros(SIZE, np.uint16)
    for place, each in enumerate(ids):
        labels[1 + 5 * (place // 2) : 4 + 5 * (place // 2), 1 + 7 * (place % 2) :][:, :5] = each
    return labels


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def tif(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def rgb(value):
    return np.full((*SIZE, 3), value, np.uint8)


def pack(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def cellpose(folder):
    def part(name, count):
        images = {f"{name}/{n:03}_img.png": png(rgb([9 * n, 90, 30])) for n in range(count)}
        return images | {f"{name}/{n:03}_masks.png": png(labels_of(5, 2)) for n in range(count)}

    return [pack(folder / f"{name}.zip", part(name, n)) for name, n in (("train", 3), ("test", 1))]


def omnipose(folder):
    image, masks = tif(np.full(SIZE, 300, np.uint16)), tif(labels_of(1, 2, 3))
    members = {}
    folders = ["bact_phase/train_sorted/E coli", "bact_phase/test_sorted/a", "worm/train"]
    folders += ["bact_fluor/train_sorted/5I_crop", "__MACOSX/bact_phase/train_sorted/a"]
    for kind in folders:
        members |= {f"{kind}/x_1.tif": image, f"{kind}/x_1_masks.tif": masks}
        members |= {f"{kind}/x_1_flows.tif": image, f"{kind}/._x_1.tif": b"junk"}
    return [pack(folder / "datasets.zip", members)]


def livecell(folder):
    """Annotations by their id as the owners have them, polygons and run lengths."""
    members, archives = {}, []
    square = [[1, 1, 6, 1, 6, 4, 1, 4]]
    runs = {"size": list(SIZE), "counts": [12, 4, 12 * 14 - 16]}
    for part, names in (("train", ["A172_1", "BV2_1"]), ("val", ["A172_2"]), ("test", ["MCF7_1"])):
        kind = "livecell_test_images" if part == "test" else "livecell_train_val_images"
        images, annotations = [], {}
        for number, name in enumerate(names, 7):
            members[f"images/{kind}/{name.split('_')[0]}/{name}.tif"] = tif(rgb(9)[..., 0])
            images.append({"id": number, "file_name": f"{name}.tif", "height": 12, "width": 14})
            for segmentation in (square, runs):
                key = len(annotations)
                annotations[str(key)] = {"id": key, "image_id": number, "iscrowd": 0,
                                         "segmentation": segmentation}  # fmt: skip
        path = folder / f"livecell_coco_{part}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"images": images, "annotations": annotations}))
        archives.append(path)
    return [pack(folder / "images.zip", members), *archives]


def dsb2018(folder):
    """Kaggle's zip of zips: one mask per nucleus, the solution as run lengths."""

    def bowl(name, ids, *, masks):
        members = {}
        for key in ids:
            members[f"{name}{key}/images/{key}.png"] = png(np.full((*SIZE, 4), 70, np.uint8))
            for number, each in enumerate((labels_of(1), labels_of(0, 1)) if masks else ()):
                mask = (each > 0).astype(np.uint8) * 255
                members[f"{name}{key}/masks/{number}.png"] = png(mask)
        return pack(folder / "x.zip", members).read_bytes()

    table = io.StringIO()
    rows = [["c", "1 3 13 2", 12, 14, "Public"], ["d", "1 1", 12, 14, "Ignored"]]
    head = ["ImageId", "EncodedPixels", "Height", "Width", "Usage"]
    csv.writer(table).writerows([head, *rows])
    inner = {"stage1_train.zip": bowl("", "ab", masks=True),
             "stage1_test.zip": bowl("", "cd", masks=False),
             "stage1_solution.csv": table.getvalue()}  # fmt: skip
    return [pack(folder / "data-science-bowl-2018.zip", inner)]


def monuseg(folder):
    def xml(*rings):
        regions = "".join(
            "<Region><Vertices>"
            + "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in ring)
            + "</Vertices></Region>"
            for ring in rings
        )
        return f"<Annotations><Annotation><Regions>{regions}</Regions></Annotation></Annotations>"

    text = xml([(1, 1), (6, 1), (6, 4), (1, 4)], [(8, 8), (9, 9)], [(-2, 6), (4, 6), (4, 9)])
    train, test = "MoNuSeg 2018 Training Data", "MoNuSegTestData"
    first = {f"{train}/Tissue Images/TCGA-A7-A13E.tif": tif(rgb(90), photometric="rgb"),
             f"{train}/Annotations/TCGA-A7-A13E.xml": text}  # fmt: skip
    second = {f"{test}/TCGA-2Z-A9J9.tif": tif(rgb(90), photometric="rgb"),
              f"{test}/TCGA-2Z-A9J9.xml": text}  # fmt: skip
    return [pack(folder / f"{train}.zip", first), pack(folder / f"{test}.zip", second)]


def tissuenet(folder):
    members = {}
    for part, count in (("train", 3), ("val", 2), ("test", 1)):
        images = np.arange(count, dtype=np.float32)[:, None, None, None] + np.zeros((1, *SIZE, 2))
        images[..., 1] += 100
        both = np.stack([labels_of(7, 8), labels_of(3)], -1).astype(np.int32)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            X=images.astype(np.float32),
            y=np.repeat(both[None], count, 0),
            meta=np.array([["a"]]),
        )
        members[f"tissuenet_v1.1_{part}.npz"] = buffer.getvalue()
    return [pack(folder / "tissuenet_v1.1.zip", members)]


def neurips_cellseg(folder):
    bmp = io.BytesIO()
    Image.fromarray(rgb(50)).save(bmp, "BMP")
    deep = tif(np.full(SIZE, 4000, np.uint16))
    train = {"Training-labeled/images/cell_00001.bmp": bmp.getvalue(),
             "Training-labeled/images/cell_00002.tif": deep,
             "Training-labeled/labels/cell_00001_label.tiff": tif(labels_of(1, 2)),
             "Training-labeled/labels/cell_00002_label.tiff": tif(labels_of(4))}  # fmt: skip
    tuning = {"Tuning/images/cell_00001.png": png(rgb(3)),
              "Tuning/labels/cell_00001_label.tiff": tif(labels_of(9))}  # fmt: skip
    more = {"release-part1/unlabeled_cell_00001.png": png(rgb(7))}
    names = {"Training-labeled": train, "Tuning": tuning, "train-unlabeled-part1": more}
    return [pack(folder / f"{name}.zip", members) for name, members in names.items()]


def mediar_public(folder):
    each = (omnipose, cellpose, livecell, dsb2018)
    return [path for make in each for path in make(folder / make.__name__)]


# Set: images of each part, one of them, its channels, and its ids with the pixels of each.
SETS = {
    "cellpose": ({"train": 3, "test": 1}, "train", "001", 3, {2: 15, 5: 15}),
    "omnipose": (
        {"train": 2, "test": 1}, "train", "bact_phase_E_coli_x_1", 1, {1: 15, 2: 15, 3: 15},
    ),
    "livecell": ({"train": 2, "val": 1, "test": 1}, "val", "A172_2", 1, {1: 12, 2: 4}),
    "dsb2018": ({"train": 2, "test": 1}, "train", "a", 3, {1: 15, 2: 15}),
    "monuseg": ({"train": 1, "test": 1}, "train", "TCGA-A7-A13E", 3, {1: 15, 2: 8}),
    "tissuenet": ({"train": 3, "val": 2, "test": 1}, "val", "val_0001", 2, {7: 15, 8: 15}),
    "neurips_cellseg": (
        {"train": 2, "val": 1, "unlabeled": 1}, "train", "cell_00002", 1, {4: 15},
    ),
    "mediar_public": ({"train": 14}, "train", "cellpose_test_000", 1, {2: 15, 5: 15}),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_sets_of_cells(name, tmp_path):
    """The official files give images and labels; fewer than published are refused by default."""
    counts, part, stem, channels, ids = SETS[name]
    archives, out = globals()[name](tmp_path / "in"), tmp_path / "out"
    with pytest.raises(DataError, match="as published, found") as caught:
        prepare(name, archives, out=out)
    assert "--set partial=true" in str(caught.value)
    assert not out.exists()
    prepared = prepare(name, archives, out=out, settings=["partial=true"])
    assert prepared.counts == counts
    assert sorted(each.name for each in out.iterdir()) == sorted([*counts, "README.md"])
    image = open_image(out / part / "images" / f"{stem}.tif", ndim=2)
    assert image.shape == (channels, *SIZE)
    labels = open_image(out / part / "labels" / f"{stem}.tif", ndim=2).read()
    found, pixels = np.unique(labels[labels > 0], return_counts=True)
    assert dict(zip(found.tolist(), pixels.tolist(), strict=True)) == ids
    text = (out / "README.md").read_text()
    assert prepared.command
    for fact in (find_set(name).license, find_set(name).citation, prepared.command):
        assert fact in text
    assert f"{out}/train/images" in prepared.command


def test_values_of_the_images(tmp_path):
    """Alpha is dropped, gray is the mean, run lengths go down the columns."""
    out = tmp_path / "bowl"
    prepare("dsb2018", dsb2018(tmp_path / "a"), out=out, settings=["partial=true"])
    test = open_image(out / "test" / "labels" / "c.tif", ndim=2).read()[0]
    assert np.argwhere(test).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]]
    out = tmp_path / "cells"
    given = ["gray=true", "partial=true", f"drop={tmp_path / 'drop.txt'}"]
    (tmp_path / "drop.txt").write_text("train/000\n")
    made = prepare("cellpose", cellpose(tmp_path / "b"), out=out, settings=given)
    assert made.counts == {"train": 2, "test": 1}
    assert open_image(out / "train/images/002.tif", ndim=2).read().max() == 46
    (tmp_path / "drop.txt").write_text("train/999\n")
    with pytest.raises(DataError, match=r"drop\.txt: .*train/999"):
        prepare("cellpose", cellpose(tmp_path / "b"), out=tmp_path / "x", settings=given)
    out = tmp_path / "tissue"
    given = ["target=nuclei", "partial=true"]
    prepare("tissuenet", tissuenet(tmp_path / "c"), out=out, settings=given)
    assert open_image(out / "train/images/train_0002.tif", ndim=2).read()[:, 0, 0].tolist() == [
        2,
        102,
    ]
    assert np.unique(open_image(out / "val/labels/val_0000.tif", ndim=2).read()).tolist() == [0, 3]


def test_images_without_their_labels(tmp_path):
    """All of them are named, and nothing is written."""
    archives = cellpose(tmp_path / "in")
    members = {f"train/{n:03}_img.png": png(rgb(n)) for n in range(2)}
    pack(archives[0], members)
    match = r"2 problem(.|\n)*train/001_img\.png: expected the masks"
    with pytest.raises(DataError, match=match) as error:
        prepare("cellpose", archives, out=tmp_path / "out", settings=["partial=true"])
    assert str(error.value).startswith(f"2 problems found in {archives[0]}, {archives[1]}:\n")
    given = livecell(tmp_path / "live")[1:]
    with pytest.raises(DataError, match=r"livecell_coco_train\.json: expected its images"):
        prepare("livecell", given, out=tmp_path / "out", settings=["partial=true"])
    given[0].write_text('{"images": 3}')
    with pytest.raises(DataError, match="expected COCO's images"):
        prepare("livecell", given, out=tmp_path / "out", settings=["partial=true"])
    assert not (tmp_path / "out").exists()


def test_a_combined_set_says_which_sets_are_missing(tmp_path):
    with pytest.raises(DataError, match=r"mediar_public, livecell: expected its archive"):
        prepare("mediar_public", cellpose(tmp_path / "in"), out=tmp_path / "out")


def test_submissions(tmp_path):
    """Names and types of the challenge; other sets have none."""
    folder, out = tmp_path / "in", tmp_path / "labels.zip"
    save_image(folder / "cell_00001.tif", labels_of(1, 2))
    save_image(folder / "cell_00002_label.tif", labels_of(7))
    assert submit("neurips_cellseg", folder, out=out) == ["cell_00001", "cell_00002"]
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["cell_00001_label.tiff", "cell_00002_label.tiff"]
        stored = tifffile.imread(io.BytesIO(archive.read("cell_00002_label.tiff")))
    assert (stored.dtype, int(stored.max())) == (np.uint16, 7)
    save_image(folder / "cell_00001_label.tif", labels_of(7))
    with pytest.raises(DataError, match=r"1 twice \(cell_00001\)"):
        submit("neurips_cellseg", folder, out=out)
    with pytest.raises(RecipeError, match="cvppp, neurips_cellseg"):
        submit("pets", folder, out=out)


def test_the_output_is_new(tmp_path):
    archives, out = cellpose(tmp_path / "in"), tmp_path / "out"
    prepare("cellpose", archives, out=out, settings=["partial=true"])
    with pytest.raises(SaveError, match=r"expected a new or empty folder, found train, test"):
        prepare("cellpose", archives, out=out, settings=["partial=true"])
