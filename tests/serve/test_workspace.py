"""Only files of the folder are seen, and an image is named by an id that says nothing."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.serve import workspace as workspaces
from unmask.serve.workspace import list_entries, open_workspace


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected a folder"):
        open_workspace(tmp_path / "none")


def test_images_may_be_in_a_folder_of_that_name(tmp_path, phantoms):
    shutil.copytree(phantoms[2] / "images", tmp_path / "images")
    workspace = open_workspace(tmp_path)
    assert len(list_entries(workspace)) == 5
    assert workspace.labels == tmp_path / "labels"


def test_the_first_image_needs_no_list(served, root):
    client = served()
    first = client.json("/api/first")
    assert first == client.json(f"/api/image/{client.image()}")
    # One that cannot be opened is passed over; without any there is none.
    path = sorted(root(client).glob("*.*"))[0]
    path.write_bytes(b"no image")
    assert client.json("/api/first")["id"] == client.image(1)
    for path in root(client).glob("*.*"):
        path.unlink()
    assert client.json("/api/first") == {}


def test_ids_stay_when_files_come_and_go(served, root):
    client = served()
    before = {i["name"]: i["id"] for i in client.json("/api/images")["images"]}
    shutil.copy(root(client) / "nuclei_001.tif", root(client) / "another.tif")
    (root(client) / "nuclei_000.tif").unlink()
    after = {i["name"]: i["id"] for i in client.json("/api/images")["images"]}
    assert {name: after[name] for name in after if name in before} == {
        name: identity for name, identity in before.items() if name != "nuclei_000"
    }


def test_a_folder_that_just_changed_is_read_once(served, root, monkeypatch):
    client, reads = served(), []
    read = workspaces.named_files
    monkeypatch.setattr(
        workspaces, "named_files", lambda *given: reads.append(given) or read(*given)
    )
    # The server makes its own folders here; images that are used at that time are the same ones.
    os.utime(root(client))
    paths = ["/api/images", "/api/first"] * 3
    with ThreadPoolExecutor(6) as pool:
        assert [each.status_code for each in pool.map(client.get, paths)] == [200] * 6
    identity = client.image()
    (root(client) / "labels").mkdir()
    for path in ("thumbnail", "tile?channels=0:0:9:ffffff"):
        assert client.get(f"/api/image/{identity}/{path}").status_code == 200
    assert len(reads) <= 2
    # A file that takes the place of another one is a change, whatever its name is.
    outside = root(client).parent / "outside.tif"
    file = sorted(root(client).glob("*.tif"))[0]
    shutil.move(file, outside)
    file.symlink_to(outside)
    assert client.json("/api/images")["images"][0]["state"] == "problem"


@pytest.mark.parametrize(
    "path",
    [
        "/api/image/..%2f..%2fetc%2fpasswd",
        "/api/image/%2e%2e",
        "/api/labels/../../x",
        "/page/..%2fapp.py",
        "/page/../app.py",
        "/page/app.py",
        "/api/jobs/..%2f..",
        "/api/jobs/round-001.set",
        "/api/export/..",
    ],
)
def test_paths_lead_nowhere(served, path):
    assert served().get(path).status_code in (400, 404)


def test_links_out_of_the_folder_are_refused(served, root, tmp_path, phantoms):
    client = served()
    outside = tmp_path / "outside.tif"
    shutil.copy(phantoms[2] / "images" / "nuclei_000.tif", outside)
    (root(client) / "link.tif").symlink_to(outside)
    (image,) = (i for i in client.json("/api/images")["images"] if i["name"] == "link")
    assert image["state"] == "problem"
    assert "leads out" in image["problem"]
    for path in ("image/{}", "image/{}/thumbnail", "image/{}/tile?channels=", "labels/{}"):
        assert client.get("/api/" + path.format(image["id"])).status_code == 422


def test_labels_behind_a_link_are_neither_read_nor_written(served, root, tmp_path, phantoms):
    client = served()
    outside = tmp_path / "elsewhere"
    shutil.copytree(phantoms[2] / "labels", outside)
    (root(client) / "labels").symlink_to(outside)
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    identity = client.image()
    response = client.get(f"/api/labels/{identity}")
    assert response.status_code == 403
    assert client.put(identity, np.ones((48, 40), np.uint16), version="*").status_code == 403
    assert before == {path.name: path.read_bytes() for path in outside.iterdir()}


def test_two_images_of_one_name_say_so(served, root):
    client = served()
    shutil.copy(root(client) / "nuclei_000.tif", root(client) / "nuclei_000.tiff")
    problems = [i["problem"] for i in client.json("/api/images")["images"] if i["problem"]]
    assert len(problems) == 2
    assert all("one image of this name" in problem for problem in problems)
