"""Rows 35 and 36 of the catalog of faults: hostile requests, and jobs or visitors that die."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import numpy as np
import pytest
from starlette.requests import ClientDisconnect

from unmask.serve import processes
from unmask.serve.facts import FactsBook
from unmask.serve.upload import UploadLimits, Uploads


def left(root) -> list[str]:
    """Files among the notes of the server that look like uploads."""
    return [path.name for path in (root / ".unmask").rglob("*.*") if path.suffix != ".json"]


def at_once(client, count: int, make):
    """Responses to ``count`` requests at the same time."""

    async def ask():
        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as session:
            return await asyncio.gather(*(make(session, number) for number in range(count)))

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, ask()).result()


def test_ten_gigabytes_are_refused_before_they_are_read(served, root):
    client = served()
    headers = {"content-length": str(10**10)}
    for path in (f"/api/import/{client.image()}?name=a.zip", "/api/upload?name=a.tif"):
        assert client.post(path, content=b"x", headers=headers).status_code == 413
    assert client.put(client.image(), np.zeros((48, 40), np.uint16)).status_code == 200
    assert client.post("/api/train", content=b" " * 2**23).status_code in (400, 413)
    assert left(root(client)) == []


def test_two_hundred_uploads_at_once(served, root):
    """Two are decoded, the others are told to come again; the server answers afterwards."""
    client = served()

    def send(session, number):
        return session.post(f"/api/upload?name=a{number}.png", content=b"not an image")

    codes = [response.status_code for response in at_once(client, 200, send)]
    assert set(codes) == {415, 429}
    assert codes.count(415) == client.site.uploads.limits.together
    assert client.get("/api/images").status_code == 200
    assert left(root(client)) == []


@pytest.mark.parametrize(
    "path",
    [
        "/page/..%2fapp.py",
        "/page/%2e%2e/app.py",
        "/page/..%5capp.py",
        "/page/....//app.py",
        "/api/image/..%2f..%2f..%2fetc%2fpasswd",
        "/api/labels/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/api/export/..%2f..?format=labels",
        "/api/model/..%2f..%2fetc",
        "/api/model/round-001%00",
        "/api/jobs/..%2fround-001/pictures/0",
        "/api/objects/~root",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out(served, path):
    response = served().get(path)
    assert 400 <= response.status_code < 500
    assert "root:" not in response.text
    assert "import " not in response.text


@pytest.mark.parametrize("address", ["http://169.254.169.254/latest", "file:///etc/passwd", "//x"])
def test_nothing_is_fetched_for_a_visitor(served, root, monkeypatch, address):
    client = served()
    identity = client.image()
    asked: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, where: asked.append(where))
    before = sorted(path.name for path in root(client).iterdir())
    tries = [
        client.post("/api/upload", params={"name": address}, content=b"x"),
        client.post(f"/api/import/{identity}", params={"name": address}, content=b"x"),
        client.post("/api/predict", json={"images": [address]}),
        client.post("/api/predict", json={"images": [identity], "model": address}),
        client.get(f"/api/image/{address}"),
    ]
    assert {response.status_code // 100 for response in tries} == {4}
    assert asked == []
    assert sorted(path.name for path in root(client).iterdir()) == before


def test_names_of_files_never_become_markup(served, root):
    """They leave the server as JSON only; every answer says its type and that it is meant."""
    client = served()
    (root(client) / "<svg onload=alert(1)>.tif").write_bytes(b"")
    response = client.get("/api/images")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    hostile = next(i["id"] for i in response.json()["images"] if "svg" in i["name"])
    for path in (f"/api/image/{hostile}", f"/api/export/{hostile}", f"/api/image/{hostile}/tile"):
        assert "html" not in client.get(path).headers["content-type"]


def test_bombs_among_outlines(served, root):
    client = served()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.roi", bytes(300_000_000))
    limits = UploadLimits(memory=2**30, seconds=20)
    small = replace(client, site=replace(
        client.site, uploads=Uploads(client.site.workspace, limits)))  # fmt: skip
    path = f"/api/import/{client.image()}?name=bomb.zip"
    assert small.post(path, content=content.getvalue()).status_code == 415
    assert not (root(client) / "predictions").exists()
    assert left(root(client)) == []


def test_of_twenty_people_at_once_one_is_first(served):
    """All of them have loaded the same version: one saves, the others are asked."""
    client = served()
    identity = client.image()

    def save(session, number):
        ids = np.full((48, 40), number + 1, "<u2")
        headers = {"x-shape": "48,40", "x-dtype": "uint16", "if-match": '"0"'}
        return session.put(f"/api/labels/{identity}", content=ids.tobytes(), headers=headers)

    codes = [response.status_code for response in at_once(client, 20, save)]
    assert sorted(codes) == [200] + [409] * 19
    assert np.unique(client.labels(identity)).tolist() == [codes.index(200) + 1]

    def mark(session, number):
        return session.patch(f"/api/image/{identity}", json={"right": [number]})

    codes = [response.status_code for response in at_once(client, 20, mark)]
    assert sorted(codes) == [200] + [409] * 19
    assert client.json(f"/api/image/{identity}")["right"] == [codes.index(200)]


def test_a_visitor_who_goes_away_leaves_nothing(served, root):
    client = served()

    async def half():
        yield b"II*\x00"
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect), ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, client.site.uploads.receive("a.tif", half())).result()
    assert left(root(client)) == []
    folder = root(client) / ".unmask" / "uploads"
    (folder / "of-a-killed-server.tif").write_bytes(b"x")
    client.site.uploads.sweep()
    assert list(folder.iterdir()) == []


def test_a_killed_job_says_so_and_the_next_one_runs(served, root, monkeypatch, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        "import sys, time\nprint('begun')\ntime.sleep('slow' in sys.argv[4] and 600)\n"
    )
    monkeypatch.setattr(processes, "PROGRAM", (sys.executable, str(script)))
    client = served()

    def predict(model: str) -> str:
        client.site.jobs._defaults = replace(client.site.jobs._defaults, model=model)
        return client.post("/api/predict", json={"images": [client.image()]}).json()["id"]

    def ended(identity: str) -> dict[str, object]:
        while (job := client.json(f"/api/jobs/{identity}"))["state"] == "running":
            time.sleep(0.02)
        return job

    first = predict("slow")
    assert client.post("/api/predict", json={}).status_code == 409
    os.kill(client.site.jobs.get(first).pid, signal.SIGKILL)
    job = ended(first)
    assert (job["state"], job["error"]) in (("failed", "begun"), ("failed", ""))
    assert ended(predict("quick"))["state"] == "done"


def test_damaged_notes_are_left_aside(served, root):
    """A cut file of the server's own notes costs what it says, and nothing else."""
    client = served()
    identity = client.image()
    ids = np.ones((48, 40), np.uint16)
    assert client.put(identity, ids).status_code == 200
    assert client.request("PATCH", "/api/project", json={"kind": "classes"}).status_code == 200
    for path in (root(client) / ".unmask").rglob("*.json"):
        path.write_text('{"kind": "cla')
    fresh = replace(client, site=client.site)
    np.testing.assert_array_equal(fresh.labels(identity), ids)
    images = fresh.json("/api/images")
    assert images["project"] == {"kind": "objects", "names": {}}
    assert json.dumps(images)


def test_a_damaged_file_of_notes_is_kept(tmp_path, caplog):
    book = FactsBook(tmp_path)
    book.change("one", held_out=True)
    damaged = '{"held_out": tr'
    (tmp_path / "one.json").write_text(damaged)
    fresh = FactsBook(tmp_path)
    assert not fresh.get("one").held_out
    assert "one.json" in caplog.text
    fresh.change("one", accepted=True)
    assert (tmp_path / "one.damaged").read_text() == damaged
    assert FactsBook(tmp_path).get("one").accepted
