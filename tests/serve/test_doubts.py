"""Predictions: of a part, mirrored for their doubt, of other programs; and what was corrected."""

from __future__ import annotations

import io
import json
import time
import zipfile

import numpy as np
import pytest
import zarr

from unmask.io import open_labels, save_image
from unmask.io.outlines import read_outlines, write_outlines
from unmask.serve import selection
from unmask.serve.corrections import compare_objects
from unmask.serve.doubts import disagreement
from unmask.serve.site import next_image


def two_squares() -> np.ndarray:
    ids = np.zeros((48, 40), np.uint16)
    ids[4:12, 4:12], ids[20:30, 20:30] = 1, 2
    return ids


def accept(client, identity: str):
    version = client.json(f"/api/image/{identity}")["version"]
    return client.post(f"/api/proposal/{identity}/accept", headers={"if-match": f'"{version}"'})


def bring(client, identity: str, path):
    return client.post(
        f"/api/import/{identity}", params={"name": path.name}, content=path.read_bytes()
    )


def predicted(client, *numbers: int, **more):
    identities = [client.image(number) for number in numbers]
    job = client.post("/api/predict", json={"images": identities, **more}).json()
    assert client.wait(job["id"], "done", "failed")["state"] == "done"
    return identities, job["id"]


def test_doubt_is_the_disagreement_of_two_predictions():
    shown = np.array([[1, 1, 1, 1, 0, 2, 2, 0]])
    other = np.array([[7, 7, 0, 0, 0, 0, 0, 3]])
    found = disagreement(shown, other)
    assert found.objects == {1: 0.5, 2: 1.0}
    assert found.image == pytest.approx((0.5 + 1 + 1) / 3)
    assert disagreement(shown * 0, other * 0).image == 0


def test_corrections_count_objects():
    before = np.array([1, 1, 0, 2, 2, 0, 3, 3, 0, 4])
    assert compare_objects(before, before) == (0, frozenset({1, 2, 3, 4}))
    found = compare_objects(before, np.array([1, 1, 0, 9, 9, 0, 0, 0, 0, 4]))
    assert found == (1, frozenset({1, 4}))
    assert compare_objects(before, np.array([1, 5, 0, 2, 2, 0, 3, 0, 0, 4]))[0] == 3


def test_the_image_that_the_model_is_least_sure_of_comes_next(served, root, program, tmp_path):
    client = served()
    identities, job = predicted(client, 0, 1, 2)
    mirrored = root(client) / ".unmask" / "jobs" / job / "mirrored"
    command = json.loads((mirrored / "job.json").read_text())["command"]
    assert command[-2:] == ["--set", "infer.tta=[[0, 1]]"]
    while not (mirrored / "exit.json").is_file():
        time.sleep(0.02)
    # The mirrored prediction of one image finds nothing that the first one did.
    save_image(mirrored / "out" / "nuclei_001.tif", np.zeros((48, 40), np.uint8), axes="YX")
    found = client.json("/api/select?count=2")
    assert found["by"] == "doubt"
    assert found["images"][0] == identities[1]
    objects = client.json(f"/api/objects/{identities[1]}?layer=prediction")["objects"]
    assert {each["doubt"] for each in objects} == {1.0}
    states = client.json("/api/images")["images"]
    assert [image["doubt"] for image in states[:4]] == [0, 1, 0, None]
    # Accepted, they keep it until they are corrected; what a person draws has none.
    assert accept(client, identities[1]).status_code == 200
    listed = client.json(f"/api/objects/{identities[1]}")["objects"]
    assert {each["doubt"] for each in listed} == {1.0}
    assert min(each["brightness"] for each in listed) > 0
    labels = client.labels(identities[1])
    background = np.argwhere(labels == 0)[0]
    version = client.json(f"/api/image/{identities[1]}")["version"]
    fresh = np.full((1, 1), labels.max() + 1, np.uint16)
    client.put(identities[1], fresh, offset=background, version=version)
    listed = client.json(f"/api/objects/{identities[1]}")["objects"]
    assert {each["doubt"] for each in listed} == {1.0, None}
    # The stored uncertainty belongs to the older prediction.
    path = root(client) / "predictions" / "nuclei_001.tif"
    save_image(path, two_squares(), axes="YX")
    assert client.json("/api/images")["images"][1]["doubt"] is None


def test_a_table_with_uncertainty_is_preferred(served, root):
    client = served()
    entries = {}
    for entry in client.json("/api/images")["images"][:2]:
        path = root(client) / "predictions" / f"{entry['name']}.tif"
        path.parent.mkdir(exist_ok=True)
        save_image(path, two_squares(), axes="YX")
    from unmask.serve.workspace import list_entries

    for entry in list_entries(client.site.workspace)[:2]:
        entries[entry.name] = (entry, client.site.proposals.names()[entry.name])
    table = root(client) / "objects.csv"
    table.write_text("image,id,area\nnuclei_000,1,4\n")
    assert not client.site.doubts.read_table(table, entries)
    table.write_text("image,id,uncertainty\nnuclei_000,1,0.25\nnuclei_000,2,0.75\n")
    assert client.site.doubts.read_table(table, entries)
    listed = client.json(f"/api/objects/{client.image()}?layer=prediction")["objects"]
    assert [each["doubt"] for each in listed] == [0.25, 0.75]
    # Images without a prediction count as uncertain as the mean, so the choice can be another one.
    assert next_image(client.site, 1, None)["by"] == "doubt"


def test_without_a_model_a_typical_image_comes_next(served, monkeypatch):
    # A few images are described even if the time for it is over at once, as on a busy machine.
    monkeypatch.setattr(selection, "_PATIENCE", 0.0)
    client = served()
    client.put(client.image(0), two_squares())
    found = client.json("/api/select?count=2")
    assert found["by"] == "kind"
    assert client.image(0) not in found["images"]
    assert len(set(found["images"])) == 2


def test_images_are_described_while_a_person_labels(served, monkeypatch):
    monkeypatch.setattr(selection, "_PATIENCE", 0.0)
    monkeypatch.setattr(selection, "_FEWEST", 1)
    monkeypatch.setattr(selection, "_REST", 0.0)
    client = served()
    client.put(client.image(1), two_squares())
    # One labeled and one other image are described at once: all that is known to choose from.
    assert len(client.json("/api/select?count=2")["images"]) == 1
    deadline = time.monotonic() + 60
    while len(client.json("/api/select?count=2")["images"]) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(client.json("/api/select?count=2")["images"]) == 2


def test_a_part_adds_objects_and_keeps_what_is_there(served, root, program, phantoms):
    client = served()
    identity = client.image()
    truth = open_labels(phantoms[2] / "labels" / "nuclei_000.tif", ndim=2).read()[0]
    first, *_, last = np.unique(truth)[1:]
    mine = np.zeros((48, 40), np.uint16)
    mine[truth == first] = 7
    mine[0, 0] = 8
    client.put(identity, mine)
    rows = np.nonzero(truth == last)[0]
    begin, end = int(rows.min()), int(rows.max()) + 1
    predicted(client, 0, region=[[begin, 0], [end, 40]])
    inside = [i for i in np.unique(truth[begin:end]) if i not in (0, first)]
    expected = np.isin(truth, inside) & (mine == 0)
    shown = client.labels(identity, "?layer=prediction")
    np.testing.assert_array_equal(shown > 0, expected)
    assert shown[shown > 0].min() > 8
    assert client.json(f"/api/image/{identity}")["parts"]
    assert accept(client, identity).status_code == 200
    labels = client.labels(identity)
    np.testing.assert_array_equal(labels, np.where(mine > 0, mine, shown))
    assert len(np.unique(labels)) == 3 + len(inside)
    assert not (root(client) / "predictions" / "nuclei_000.tif").exists()


@pytest.mark.parametrize("region", [[[0, 0], [49, 4]], [[4, 4], [4, 8]], [[0], [4]]])
def test_parts_outside_of_the_image_are_refused(served, program, region):
    client = served()
    content = {"images": [client.image()], "region": region}
    assert client.post("/api/predict", json=content).status_code == 400
    assert client.post("/api/predict", json={"region": [[0, 0], [4, 4]]}).status_code == 400


@pytest.mark.parametrize("form", ["zip", "json"])
def test_labels_of_other_programs_wait_to_be_accepted(served, root, tmp_path, form):
    client = served()
    identity, ids = client.image(), two_squares()
    path = tmp_path / f"theirs.{form}"
    write_outlines(path, ids)
    if form == "json":
        tree = json.loads(path.read_text())
        tree["images"][0]["file_name"] = "nuclei_000.tif"
        path.write_text(json.dumps(tree))
    response = bring(client, identity, path)
    assert response.json() == {"objects": 2, "notes": []}, response.text
    np.testing.assert_array_equal(client.labels(identity, "?layer=prediction") > 0, ids > 0)
    assert not (root(client) / "labels").exists()
    assert accept(client, identity).status_code == 200
    np.testing.assert_array_equal(client.labels(identity), ids)


def test_what_is_doubtful_of_outlines_is_said(served, tmp_path):
    client = served()
    square = [[[2, 2], [12, 2], [12, 12], [2, 12], [2, 2]]]
    shapes = [{"type": "Feature", "properties": {},
               "geometry": {"type": "Polygon", "coordinates": square}}] * 2  # fmt: skip
    path = tmp_path / "theirs.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": shapes}))
    answer = bring(client, client.image(), path).json()
    assert "in more than one object" in " ".join(answer["notes"])


def test_labels_of_another_image_are_refused(served, root, tmp_path):
    client = served()
    save_image(tmp_path / "small.tif", np.ones((4, 4), np.uint8), axes="YX")
    response = bring(client, client.image(), tmp_path / "small.tif")
    assert response.status_code == 415
    assert "size of the image" in response.json()["error"]
    assert not (root(client) / "predictions").exists()


def test_corrected_objects_are_counted_per_image(served, tmp_path):
    client = served()
    identity, ids = client.image(), two_squares()
    save_image(tmp_path / "theirs.tif", ids, axes="YX")
    bring(client, identity, tmp_path / "theirs.tif")
    accept(client, identity)
    assert client.json(f"/api/objects/{identity}")["corrections"] == 0
    version = client.json(f"/api/image/{identity}")["version"]
    client.put(identity, np.zeros((9, 9), np.uint16), offset=(20, 20), version=version)
    assert client.json(f"/api/objects/{identity}")["corrections"] == 1
    assert client.json("/api/images")["images"][0]["corrections"] == 1
    # To accept it again on older labels changes nothing.
    old = {"if-match": f'"{version}"'}
    assert client.post(f"/api/proposal/{identity}/accept", headers=old).status_code == 409
    assert client.json("/api/images")["images"][0]["state"] == "corrected"
    assert client.json(f"/api/objects/{identity}")["corrections"] == 1
    other = client.image(1)
    client.put(other, ids)
    assert client.json(f"/api/objects/{other}")["corrections"] is None


def test_results_leave_as_ome_zarr_and_as_a_model(served, root, program, tmp_path):
    client = served()
    identity, ids = client.image(), two_squares()
    client.put(identity, ids)
    response = client.get(f"/api/export/{identity}?format=ome-zarr")
    assert 'filename="nuclei_000.ome.zarr.zip"' in response.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        archive.extractall(tmp_path)
    np.testing.assert_array_equal(
        open_labels(tmp_path / "nuclei_000.ome.zarr", ndim=2).read()[0], ids
    )
    assert zarr.open_group(tmp_path / "nuclei_000.ome.zarr", mode="r").attrs
    assert client.get("/api/model/round-001").status_code == 404
    client.post("/api/train", json={"updates": 2})
    client.wait("round-001", "done")
    model = root(client) / "runs" / "round-001" / "model.safetensors"
    model.write_bytes(b"weights")
    assert client.get("/api/model/round-001").content == b"weights"


@pytest.mark.parametrize("form", ["imagej", "geojson", "coco"])
def test_outlines_leave_as_they_can_come_back(served, tmp_path, form):
    client = served()
    identity, ids = client.image(), two_squares()
    client.put(identity, ids)
    response = client.get(f"/api/export/{identity}?format={form}")
    assert response.status_code == 200
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        archive.extractall(tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*.*") if path.is_file()]
    (path,) = (path for path in files if path.suffix != ".csv")
    np.testing.assert_array_equal(read_outlines(path, ids.shape, say=lambda _: None), ids)


def test_names_of_classes_are_kept(served):
    client = served()
    names = {"names": {"1": "cell", "3": "<b>"}}
    assert client.request("PATCH", "/api/project", json=names).json()["names"] == names["names"]
    client.request("PATCH", "/api/project", json={"kind": "classes"})
    project = client.json("/api/images")["project"]
    assert project == {"kind": "classes", "names": {"1": "cell", "3": "<b>"}}
    # Of two people who name classes at once, each keeps the names of the other.
    client.request("PATCH", "/api/project", json={"names": {"2": "wall"}})
    client.request("PATCH", "/api/project", json={"names": {"3": ""}})
    assert client.json("/api/images")["project"]["names"] == {"1": "cell", "2": "wall"}
    for wrong in ({"kind": "x"}, {"names": {"0": "a"}}, {"names": {"1": "a" * 81}}, {"more": 1}):
        assert client.request("PATCH", "/api/project", json=wrong).status_code == 400
