"""Labels are exact, versioned, atomic, and ordinary files that other verbs read."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from unmask.io import open_labels, save_image
from unmask.serve import labels as module
from unmask.serve import proposals

SHAPES = {2: (48, 40), 3: (10, 24, 20)}


def drawn(ndim: int, dtype: type = np.uint16) -> np.ndarray:
    ids = np.zeros(SHAPES[ndim], dtype)
    ids[..., 3:9, 4:11] = 1
    ids[..., 12:20, 2:15] = np.iinfo(dtype).max - 1
    return ids


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize("ndim", [2, 3])
def test_what_is_saved_is_what_is_read(served, root, ndim, dtype):
    client = served(ndim)
    identity, ids = client.image(), drawn(ndim, dtype)
    assert not client.labels(identity).any()
    response = client.put(identity, ids)
    assert response.status_code == 200
    assert response.json()["objects"] == 2
    np.testing.assert_array_equal(client.labels(identity), ids)
    file = open_labels(root(client) / "labels" / "nuclei_000.tif", ndim=ndim)
    assert file.dtype == dtype
    np.testing.assert_array_equal(file.read()[0], ids)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_patch_changes_its_box_only(served, ndim):
    client = served(ndim)
    identity, ids = client.image(), drawn(ndim)
    version = client.put(identity, ids).json()["version"]
    patch = np.full((2,) * ndim, 7, np.uint16)
    start = (3,) * ndim
    assert client.put(identity, patch, offset=start, version=version).status_code == 200
    ids[tuple(slice(3, 5) for _ in start)] = 7
    np.testing.assert_array_equal(client.labels(identity), ids)
    stop = ",".join("5" * ndim)
    box = client.labels(identity, f"?start={','.join('3' * ndim)}&stop={stop}")
    np.testing.assert_array_equal(box, patch)
    # Objects are counted in the box alone; the number is that of the whole image.
    for value in (0, 9, 7):
        version = client.json(f"/api/image/{identity}")["version"]
        ids[tuple(slice(2, 5) for _ in start)] = value
        saved = client.put(identity, np.full((3,) * ndim, value, np.uint16),
                           offset=(2,) * ndim, version=version).json()  # fmt: skip
        assert saved["objects"] == np.count_nonzero(np.unique(ids))


def test_who_saves_on_an_old_version_is_asked(served):
    client = served()
    identity = client.image()
    mine, theirs = drawn(2), drawn(2) + np.uint16(3)
    version = client.put(identity, theirs).json()["version"]
    refused = client.put(identity, mine)
    assert refused.status_code == 409
    assert refused.json()["version"] == version
    np.testing.assert_array_equal(client.labels(identity), theirs)
    assert client.put(identity, mine, version="*").status_code == 200
    np.testing.assert_array_equal(client.labels(identity), mine)


@pytest.mark.parametrize("ndim", [2, 3])
def test_who_notes_on_an_old_version_is_asked(served, ndim):
    """Boxes, marks and what is held out have a version of their own."""
    client = served(ndim)
    identity = client.image()
    path, box = f"/api/image/{identity}", [[[0] * ndim, [4] * ndim]]
    assert client.json(path)["notes_version"] == "0"
    version = client.note(identity, regions=box).json()["notes_version"]
    refused = client.note(identity, right=[1])
    assert refused.status_code == 409
    answer = refused.json()
    assert "boxes and marks of nuclei_000" in answer["error"]
    assert (answer["version"], answer["regions"], answer["right"]) == (version, box, [])
    assert client.json(path)["right"] == []
    # The page repeats a request whose answer it never got.
    assert client.note(identity, regions=box).status_code == 200
    marked = client.note(identity, version=version, right=[2, 1]).json()
    assert (marked["regions"], marked["right"]) == (box, [1, 2])
    assert client.note(identity, version=version, held_out=True).status_code == 409
    assert client.note(identity, version="*", held_out=True).json()["held_out"]
    # Labels and notes are changed by different people without a question.
    version = client.json(f"/api/objects/{identity}")["notes_version"]
    assert client.put(identity, drawn(ndim)).status_code == 200
    assert client.note(identity, version=version, regions=[]).status_code == 200


def test_a_change_by_another_program_is_noticed(served, root):
    client = served()
    identity = client.image()
    version = client.put(identity, drawn(2)).json()["version"]
    save_image(root(client) / "labels" / "nuclei_000.tif", drawn(2) * np.uint16(0), axes="YX")
    assert client.put(identity, drawn(2), version=version).status_code == 409
    assert not client.labels(identity).any()


def test_a_lost_answer_does_no_harm(served):
    """The page repeats a save whose answer it never got."""
    client = served()
    identity = client.image()
    first = client.put(identity, drawn(2))
    again = client.put(identity, drawn(2))
    assert again.status_code == 200
    assert again.json() == first.json()


def test_of_many_savers_at_once_one_wins(served):
    client = served()
    identity = client.image()
    codes: list[int] = []

    def save(value: int) -> None:
        codes.append(client.put(identity, np.full((48, 40), value, np.uint16)).status_code)

    threads = [threading.Thread(target=save, args=(value,)) for value in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [409] * 7
    assert len(np.unique(client.labels(identity))) == 1


def test_a_full_disk_is_reported_and_nothing_is_lost(served, root, full_disk):
    client = served()
    identity = client.image()
    version = client.put(identity, drawn(2)).json()["version"]
    before = (root(client) / "labels" / "nuclei_000.tif").read_bytes()
    full_disk("nuclei_000.tif", 1)
    changed = np.ones((4, 4), np.uint16)
    response = client.put(identity, changed, offset=(0, 0), version=version)
    assert response.status_code == 507
    assert "could not be written" in response.json()["error"]
    assert (root(client) / "labels" / "nuclei_000.tif").read_bytes() == before
    assert [p.name for p in (root(client) / "labels").iterdir()] == ["nuclei_000.tif"]
    assert client.put(identity, changed, offset=(0, 0), version=version).status_code == 200


@pytest.mark.parametrize("name", ["é" * 125 + "a", "c" * 200 + ".b" * 25 + "x"])
def test_the_longest_names_are_saved_and_exported(served, root, name):
    client = served()
    folder = root(client)
    (folder / "nuclei_000.tif").rename(folder / f"{name}.tif")
    identity = next(i["id"] for i in client.json("/api/images")["images"] if i["name"] == name)
    ids = np.eye(5, dtype=np.uint16)
    assert client.put(identity, ids, offset=(3, 3)).status_code == 200
    np.testing.assert_array_equal(client.labels(identity)[3:8, 3:8], ids)
    assert (folder / "labels" / f"{name}.tif").is_file()
    for form in ("labels", "ome-zarr", "csv", "geojson"):
        response = client.get(f"/api/export/{identity}?format={form}")
        assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ({"x-shape": "48,40", "x-dtype": "float32"}, 48 * 40 * 4),
        ({"x-shape": "48", "x-dtype": "uint16"}, 96),
        ({"x-shape": "48,41", "x-dtype": "uint16"}, 48 * 41 * 2),
        ({"x-shape": "2,2", "x-dtype": "uint16"}, 8),
        ({"x-shape": "2,2", "x-offset": "47,39", "x-dtype": "uint16"}, 8),
        ({"x-shape": "2,2", "x-offset": "-1,0", "x-dtype": "uint16"}, 8),
        ({"x-shape": "2,2", "x-offset": "0,0", "x-dtype": "uint16"}, 7),
        ({"x-shape": "2,2", "x-offset": "0,0", "x-dtype": "uint16"}, 9),
        ({"x-shape": "999999999999,2", "x-offset": "0,0", "x-dtype": "uint16"}, 4),
        ({}, 0),
    ],
)
def test_what_does_not_fit_is_refused(served, root, headers, size):
    client = served()
    path = f"/api/labels/{client.image()}"
    response = client.request("PUT", path, content=bytes(size), headers=headers)
    assert response.status_code in (400, 413)
    assert not (root(client) / "labels").exists()


def test_large_volumes_are_written_in_parts(served, root, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 1000)
    client = served(3)
    identity = client.image()
    first = client.put(identity, np.full((1, 4, 4), 5, np.uint16), offset=(2, 3, 4))
    assert first.status_code == 200
    refused = client.put(identity, np.full((1, 2, 2), 6, np.uint16), offset=(0, 0, 0))
    assert refused.status_code == 409
    version = first.json()["version"]
    more = client.put(identity, np.full((1, 2, 2), 9, np.uint16), offset=(0, 0, 0), version=version)
    assert more.status_code == 200
    expected = np.zeros(SHAPES[3], np.uint16)
    expected[2, 3:7, 4:8], expected[0, :2, :2] = 5, 9
    np.testing.assert_array_equal(client.labels(identity), expected)
    file = open_labels(root(client) / "labels" / "nuclei_000.ome.zarr", ndim=3)
    np.testing.assert_array_equal(file.read()[0], expected)
    assert client.json(f"/api/image/{identity}")["top"] == 9


def test_labels_of_another_size_say_so(served, root):
    client = served()
    save_image(root(client) / "labels" / "nuclei_000.tif", np.ones((5, 5), np.uint8), axes="YX")
    response = client.get(f"/api/labels/{client.image()}")
    assert response.status_code == 422
    assert "the size of its image" in response.json()["error"]


def test_a_large_prediction_is_accepted_in_parts(served, root, monkeypatch):
    for each in (module, proposals):
        monkeypatch.setattr(each, "LARGE", 1000)
    monkeypatch.setattr(proposals, "_PART", 500)
    client = served(3)
    ids = np.random.default_rng(0).integers(0, 9, SHAPES[3]).astype(np.uint16)
    save_image(root(client) / "predictions" / "nuclei_000.tif", ids, axes="ZYX")
    assert client.post(f"/api/proposal/{client.image()}/accept").status_code == 200
    np.testing.assert_array_equal(client.labels(client.image()), ids)
    assert (root(client) / "labels" / "nuclei_000.ome.zarr").is_dir()
