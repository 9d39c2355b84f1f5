"""Eight archives of medical volumes in the layouts they are published in, and their presets."""

import nibabel
import numpy as np
import pytest
from PIL import Image

from unmask.build import build_task, layout
from unmask.data.pairs import apply_view, open_pairs
from unmask.datasets import find_set
from unmask.datasets.writing import write_set
from unmask.errors import DataError, RecipeError
from unmask.recipe import load

SHAPE = (6, 5, 4)  # x, y, z


def prepare(archive, out, *, name, **options):
    return write_set(find_set(name), archive, out, partial=True, options=options).counts


BTCV = [*range(1, 11), *range(21, 41)]
# Set: labeled images, labels, images of the test part, numbers of cases, label values.
ARCHIVES = {
    "btcv": (
        "RawData/Training/img/img{:04}.nii.gz",
        "RawData/Training/label/label{:04}.nii.gz",
        "RawData/Testing/img/img{:04}.nii.gz",
        BTCV,
        range(14),
    ),
    "mmwhs": (
        "MM-WHS 2017/ct_train/ct_train_{}_image.nii.gz",
        "MM-WHS 2017/ct_train/ct_train_{}_label.nii.gz",
        "MM-WHS 2017/ct_test/ct_test_{}_image.nii.gz",
        range(1001, 1021),
        (0, 205, 420, 500, 550, 600, 820, 850),
    ),
    "spleen": (
        "Task09_Spleen/imagesTr/spleen_{}.nii.gz",
        "Task09_Spleen/labelsTr/spleen_{}.nii.gz",
        "Task09_Spleen/imagesTs/spleen_{}.nii.gz",
        range(2, 43),
        range(2),
    ),
    "amos22": (
        "amos22/imagesTr/amos_{:04}.nii.gz",
        "amos22/labelsTr/amos_{:04}.nii.gz",
        "amos22/imagesTs/amos_{:04}.nii.gz",
        range(1, 21),
        range(16),
    ),
    "word": (
        "WORD-V0.1.0/imagesTr/word_{:04}.nii.gz",
        "WORD-V0.1.0/labelsTr/word_{:04}.nii.gz",
        "WORD-V0.1.0/imagesTs/word_{:04}.nii.gz",
        range(2, 22),
        range(17),
    ),
    "covid19_20": (
        "COVID-19-20_v2/Train/volume-covid19-A-{:04}_ct.nii.gz",
        "COVID-19-20_v2/Train/volume-covid19-A-{:04}_seg.nii.gz",
        "COVID-19-20_v2/Validation/volume-covid19-A-{:04}_ct.nii.gz",
        range(3, 22),
        range(2),
    ),
    "brats21": (
        "Task01_BrainTumour/imagesTr/BRATS_{:03}.nii.gz",
        "Task01_BrainTumour/labelsTr/BRATS_{:03}.nii.gz",
        "Task01_BrainTumour/imagesTs/BRATS_{:03}.nii.gz",
        range(1, 25),
        range(4),
    ),
}
# Volumes of train and val in fold 0, and names held out, first and last.
SPLITS = {
    "btcv": (24, 6, "img0035", "img0040"),
    "mmwhs": (16, 4, "ct_train_1001_image", "ct_train_1004_image"),
    "spleen": (32, 9, "spleen_2", "spleen_10"),
    "amos22": (16, 4, "amos_0001", "amos_0004"),
    "word": (16, 4, "word_0002", "word_0005"),
    "covid19_20": (16, 3, "volume-covid19-A-0019_ct", "volume-covid19-A-0021_ct"),
    "brats21": (19, 5, "BRATS_001", "BRATS_005"),
}


def volume(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.5, 1.5, 3.0, 1])), path)


def archive(folder, name):
    """A tiny archive in the published layout, with what else lies in it."""
    images, labels, test, numbers, values = ARCHIVES[name]
    channels = load(f"glmae_{name}").data.channels
    shape = (*SHAPE, channels) if channels > 1 else SHAPE
    rng = np.random.default_rng(0)
    for number in numbers:
        volume(folder / images.format(number), rng.integers(-900, 900, shape).astype(np.int16))
        drawn = rng.choice(np.array(list(values)), SHAPE)
        volume(folder / labels.format(number), drawn.astype(np.uint16))
    volume(folder / test.format(900), np.zeros(shape, np.int16))
    first = folder / images.format(numbers[0])
    # Copies of macOS next to the files of the Decathlon, and MRI among the CT of AMOS
    first.with_name(f"._{first.name}").write_bytes(b"junk")
    if name == "amos22":
        volume(folder / images.format(507), np.zeros(shape, np.int16))
    return folder


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_of_volumes(name, tmp_path):
    """Parts of the published sizes that the preset of the set reads."""
    counts = prepare(archive(tmp_path / "in", name), tmp_path / "out", name=name)
    train, val, first, last = SPLITS[name]
    expected = {"train": train, "val": val, "test": 1}
    if name == "amos22":
        del expected["test"]
    assert counts == expected
    recipe = load(f"glmae_{name}")
    task, held_out = build_task(recipe), tmp_path / "out" / "val"
    pairs = open_pairs(
        held_out / "images", held_out / "labels", layout(recipe), channels=recipe.data.channels
    )
    assert [pairs[0].name, pairs[-1].name] == [first, last]
    assert len(pairs) == val
    for pair in pairs:
        assert pair.image.shape == (recipe.data.channels, *SHAPE[::-1])
        assert pair.image.spacing == pytest.approx((3.0, 1.5, 1.5))
        assert pair.labels is not None
        target = task.encode(pair.labels.read()[0].astype(np.int64), pair.labels.spacing)
        assert target.values.max() <= task.channels() - 1
    assert pairs[0].image.read().min() < -800


def test_amos_takes_its_validation_part_too(tmp_path):
    folder = archive(tmp_path / "in", "amos22")
    volume(folder / "amos22" / "imagesVa" / "amos_0300.nii.gz", np.zeros(SHAPE, np.int16))
    volume(folder / "amos22" / "labelsVa" / "amos_0300.nii.gz", np.zeros(SHAPE, np.uint8))
    assert prepare(folder, tmp_path / "out", name="amos22") == {"train": 16, "val": 5}


def slices(folder, size=(12, 10), count=3, end=".png"):
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(np.full(size, 10 * number, np.uint8)).save(folder / f"{number}{end}")


def scans(folder):
    for label in ("Normal", "CP", "NCP"):
        for patient in (2, 10, 300):
            for scan in range(1 + (patient == 10)):
                slices(folder / label / str(patient) / str(1000 + patient + scan), count=11)
    return folder


def test_archive_of_scans(tmp_path):
    """Patients stay together; slices come in the order of their numbers."""
    folder, out = scans(tmp_path / "in"), tmp_path / "out"
    counts = prepare(folder, out, name="cc_ccii", fold=1)
    assert counts == {"train": 6, "val": 6}
    recipe = load("glmae_cc_ccii")
    pairs = {
        part: open_pairs(out / part / "images", out / part / "classes.csv", layout(recipe))
        for part in ("train", "val")
    }
    patients = {part: {pair.name.rpartition("_")[0] for pair in pairs[part]} for part in pairs}
    assert not patients["train"] & patients["val"]
    kinds = {part: {name.partition("_")[0] for name in patients[part]} for part in patients}
    assert kinds["train"] == kinds["val"] == {"Normal", "CP", "NCP"}
    for pair in (*pairs["train"], *pairs["val"]):
        assert pair.labels is not None
        number = 1 + ("Normal", "CP", "NCP").index(pair.name.split("_")[0])
        assert (pair.labels.read() == number).all()
        assert pair.image.shape == (1, 11, 12, 10)
        assert pair.image.read()[0, :, 0, 0].tolist() == [10 * n for n in range(11)]


def test_a_published_list_of_scans(tmp_path):
    listed = tmp_path / "fold0.csv"
    listed.write_text("zip_file,target,label,patient_id,scan_id\nx.zip,1,CP,10,1011\n")
    folder = scans(tmp_path / "in")
    counts = prepare(folder, tmp_path / "out", name="cc_ccii", held_out=listed)
    assert counts == {"train": 11, "val": 1}
    listed.write_text("label,patient_id,scan_id\nCP,77,1\n")
    with pytest.raises(DataError, match=r"fold0\.csv.*1 others \(CP_77_1\)"):
        prepare(folder, tmp_path / "out", name="cc_ccii", held_out=listed)


def test_slices_of_two_sizes(tmp_path):
    folder = scans(tmp_path / "in")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "CP" / "2" / "1002" / "7.png")
    with pytest.raises(DataError, match=r"1002: expected slices of one size"):
        prepare(folder, tmp_path / "out", name="cc_ccii")


def test_folds_take_every_case_once(tmp_path):
    folder = archive(tmp_path / "in", "spleen")
    seen = []
    for fold in range(5):
        out = tmp_path / f"{fold}"
        prepare(folder, out, name="spleen", fold=fold, copy=fold == 1)
        found = [path.name for path in (out / "val" / "labels").iterdir()]
        assert len(found) == (9, 8, 8, 8, 8)[fold]
        seen += found
    assert len(set(seen)) == 41
    link = next((tmp_path / "0" / "val" / "images").iterdir())
    assert link.is_symlink()
    assert not next((tmp_path / "1" / "val" / "images").iterdir()).is_symlink()
    with pytest.raises(RecipeError, match="0 to 4"):
        prepare(folder, tmp_path / "6", name="spleen", fold=5)


def test_other_cases_held_out(tmp_path):
    listed = tmp_path / "held.txt"
    listed.write_text("img0003\nimg0021\n\n")
    folder, out = archive(tmp_path / "in", "btcv"), tmp_path / "out"
    assert prepare(folder, out, name="btcv", held_out=listed)["val"] == 2
    assert sorted(path.name for path in (out / "val" / "labels").iterdir()) == [
        "img0003.nii.gz",
        "img0021.nii.gz",
    ]


def test_images_without_labels_are_named(tmp_path):
    folder = archive(tmp_path / "in", "word")
    for number in (4, 7):
        (folder / f"WORD-V0.1.0/labelsTr/word_{number:04}.nii.gz").unlink()
    with pytest.raises(DataError, match=r"2 problems(.|\n)*word_0007.nii.gz: expected its labels"):
        prepare(folder, tmp_path / "out", name="word")


@pytest.mark.parametrize("name", [*ARCHIVES, "cc_ccii"])
def test_empty_folders(name, tmp_path):
    with pytest.raises(DataError, match="Give the official archive"):
        prepare(tmp_path, tmp_path / "out", name=name)


def test_the_pre_training_set_is_two_folders_without_labels(tmp_path):
    """CT of TCIA next to the training part of BTCV; air around the body is not seen."""
    prepare(archive(tmp_path / "in", "btcv"), tmp_path / "btcv", name="btcv")
    body = np.full((20, 18, 16), -1000, np.int16)
    body[5:-5, 4:-4, 3:-3] = 50
    tcia = tmp_path / "tcia"
    volume(tcia / "volume-covid19-A-0011.nii.gz", body)
    volume(tcia / "volume-covid19-A-0012_day010.nii.gz", body)
    folders = [tcia, tmp_path / "btcv" / "train" / "images"]
    given = layout(load("glmae"))
    pairs = apply_view(open_pairs(folders, None, given), given.view)
    assert len(pairs) == 2 + 24
    seen = {pair.name: pair.image.shape for pair in pairs}
    assert seen["volume-covid19-A-0011"] == (1, 10, 10, 10)
