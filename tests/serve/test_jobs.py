"""Jobs are processes of their own: found again, stopped, continued, collected."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from unmask.api.defaults import choose_model
from unmask.atomic import atomic_write
from unmask.io import open_labels
from unmask.recipe import load
from unmask.serve import jobs, processes
from unmask.serve.processes import Job
from unmask.serve.site import make_site
from unmask.serve.workspace import list_entries


def labeled(client):
    ids = np.zeros((48, 40), np.uint16)
    ids[5:12, 5:12] = 1
    assert client.put(client.image(), ids, version="*").status_code == 200
    return ids


def test_training_without_labels_says_what_to_do(served, root, program):
    client = served()
    response = client.post("/api/train", json={})
    assert response.status_code == 422
    assert "Outline a few objects" in response.json()["error"]
    assert list((root(client) / "runs").iterdir()) == []


def test_a_training_is_a_run_that_the_command_line_can_continue(served, root, program):
    client = served()
    ids = labeled(client)
    job = client.post("/api/train", json={"updates": 5}).json()
    assert (job["id"], job["trained"], job["init"]) == ("round-001", 1, None)
    assert "1 image without a box counts as completely labeled" in job["notes"][0]
    done = client.wait("round-001", "done", "failed")
    assert (done["state"], done["done"]) == ("done", 5)
    folder = root(client) / "runs" / "round-001.set"
    listing = json.loads((folder / "dataset.json").read_text())
    assert len(listing["training"]) == 1
    copied = open_labels(folder / listing["training"][0]["label"], ndim=2).read()[0]
    np.testing.assert_array_equal(copied, ids)
    record = json.loads((folder / "job.json").read_text())
    assert record["command"][:2] == ["train", str(folder / "dataset.json")]
    assert "--preset" not in record["command"]
    again = client.post("/api/train", json={"updates": 5}).json()
    assert again["init"].endswith("round-001/model.safetensors")
    client.wait("round-002", "done")
    command = client.site.jobs.get("round-002").command
    # The network stays that of the weights, whatever a plan of more labels would prefer.
    backbone = load("cells").model.backbone.model_dump(mode="json")
    assert f"model.backbone={json.dumps(backbone)}" in command


def test_a_training_outlives_the_server_and_is_found_again(served, root, program):
    client = served()
    labeled(client)
    client.post("/api/train", json={"updates": 30})
    restarted = replace(client, site=make_site(client.site.workspace))
    (job,) = restarted.json("/api/jobs")["jobs"]
    assert (job["id"], job["state"]) == ("round-001", "running")
    assert restarted.post("/api/train", json={}).status_code == 409
    assert restarted.wait("round-001", "running")["steps"] == 30
    while restarted.json("/api/jobs/round-001")["done"] < 10:
        time.sleep(0.05)
    assert restarted.post("/api/jobs/round-001/stop").status_code == 200
    assert restarted.wait("round-001", "stopped", "failed")["state"] == "stopped"
    assert restarted.post("/api/jobs/round-001/stop").status_code == 409
    assert restarted.post("/api/jobs/round-001/resume").status_code == 202
    done = restarted.wait("round-001", "done", "failed")
    assert (done["state"], done["done"]) == ("done", 30)


def test_stop_ends_no_process_with_a_reused_number(served, program):
    client = served()
    labeled(client)
    client.post("/api/train", json={"updates": 2})
    client.wait("round-001", "done")
    job = client.site.jobs.get("round-001")
    changed = {**json.loads((job.folder / "job.json").read_text()), "pid": os.getpid()}
    (job.folder / "job.json").write_text(json.dumps(changed))
    assert client.post("/api/jobs/round-001/stop").status_code == 409


def test_progress_arrives_as_events(served, program):
    client = served()
    labeled(client)
    client.post("/api/train", json={"updates": 4})
    response = client.get("/api/jobs/round-001/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [block.split("\n") for block in response.text.strip().split("\n\n")]
    lines = [json.loads(e[2][6:]) for e in events if e[0] == "event: journal"]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert json.loads(events[-1][2][6:])["state"] == "done"
    accepted = {"accept": "text/event-stream"}
    assert (
        client.get("/api/jobs/round-001", headers=accepted).text
        == client.get("/api/jobs/round-001/events").text
    )
    position = next(e[1][4:] for e in events if e[0] == "event: journal")
    rest = client.get("/api/jobs/round-001/events", headers={"last-event-id": position}).text
    assert '"step": 4' not in rest or rest.count("event: journal") < 4


def test_boxes_make_the_rest_unknown_and_held_out_images_validate(served, root, program):
    client = served()
    ids = labeled(client)
    identity, other = client.image(0), client.image(1)
    client.put(other, ids)
    region = {"regions": [[[0, 0], [20, 20]]]}
    assert client.request("PATCH", f"/api/image/{identity}", json=region).status_code == 200
    client.request("PATCH", f"/api/image/{other}", json={"held_out": True})
    states = [image["state"] for image in client.json("/api/images")["images"]]
    assert states[:3] == ["partly labeled", "held out", "unlabeled"]
    job = client.post("/api/train", json={"updates": 2}).json()
    assert (job["trained"], job["held_out"]) == (1, 1)
    folder = root(client) / "runs" / "round-001.set"
    listing = json.loads((folder / "dataset.json").read_text())
    copied = open_labels(folder / listing["training"][0]["label"], ndim=2).read()[0]
    expected = np.where(ids > 0, ids, 65535)
    expected[:20, :20] = ids[:20, :20]
    np.testing.assert_array_equal(copied, expected)
    command = client.site.jobs.get("round-001").command
    assert "data.ignore_label=65535" in command
    client.wait("round-001", "done")


@pytest.mark.parametrize(
    "box", [[[0, 0], [49, 4]], [[4, 4], [4, 8]], [[0], [4]], [[-1, 0], [4, 4]]]
)
def test_boxes_outside_of_the_image_are_refused(served, box):
    client = served()
    response = client.request("PATCH", f"/api/image/{client.image()}", json={"regions": [box]})
    assert response.status_code == 400


def test_a_prediction_waits_until_a_person_accepts_it(served, root, program, phantoms):
    client = served()
    first, second = client.image(0), client.image(1)
    job = client.post("/api/predict", json={"images": [first, second]}).json()
    assert client.wait(job["id"], "done", "failed")["state"] == "done"
    images = client.json("/api/images")["images"]
    assert [image["state"] for image in images[:3]] == ["predicted", "predicted", "unlabeled"]
    truth = open_labels(phantoms[2] / "labels" / "nuclei_000.tif", ndim=2).read()[0]
    np.testing.assert_array_equal(client.labels(first, "?layer=prediction"), truth)
    assert not (root(client) / "labels").exists()
    assert client.post(f"/api/proposal/{first}/accept").status_code == 200
    np.testing.assert_array_equal(client.labels(first), truth)
    assert client.post(f"/api/proposal/{second}/reject").status_code == 200
    states = [image["state"] for image in client.json("/api/images")["images"]]
    assert states[:2] == ["labeled", "unlabeled"]
    version = client.json(f"/api/image/{first}")["version"]
    client.put(first, np.full((2, 2), 99, np.uint16), offset=(0, 0), version=version)
    assert client.json("/api/images")["images"][0]["state"] == "corrected"
    assert client.post(f"/api/proposal/{first}/accept").status_code == 409
    assert client.json(f"/api/select?after={second}")["images"] == [client.image(2)]


def test_a_failed_prediction_says_why(served, program):
    client = served()
    defaults = replace(client.site.jobs._defaults, model="fail")
    client.site.jobs._defaults = defaults
    job = client.post("/api/predict", json={"images": [client.image()]}).json()
    failed = client.wait(job["id"], "failed", "done")
    assert failed["error"] == "Error: it failed"


def test_before_the_first_training_the_model_is_that_of_predict(served, program):
    client = served()
    job = client.post("/api/predict", json={"images": [client.image()]}).json()
    client.wait(job["id"], "done")
    command = client.site.jobs.get(job["id"]).command
    said: list[str] = []
    entry = list_entries(client.site.workspace)[0]
    assert command[command.index("--model") + 1] == choose_model(str(entry.path), (), said.append)


def test_clusters_become_predicted_classes(served, root, program):
    client = served()
    assert client.post("/api/cluster", json={"classes": 1}).status_code == 400
    job = client.post("/api/cluster", json={"classes": 3, "model": "nuclei"}).json()
    assert client.wait(job["id"], "done", "failed")["state"] == "done"
    command = client.site.jobs.get(job["id"]).command
    assert (command[0], command[command.index("--classes") + 1]) == ("cluster", "3")
    listed = client.json("/api/images")
    assert listed["project"]["kind"] == "classes"
    assert {image["state"] for image in listed["images"]} == {"predicted"}
    predictions = {path.suffix for path in (root(client) / "predictions").iterdir()}
    assert predictions == {".tif"}
    assert client.post("/api/cluster", json={"classes": 3, "model": "none"}).status_code == 404


def test_a_volume_needs_a_model_first(served, program, monkeypatch):
    monkeypatch.setattr(jobs, "find_generalist", lambda ndim: None)
    client = served(3)
    response = client.post("/api/predict", json={})
    assert response.status_code == 422
    assert "train first" in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("train", {"updates": 0}),
        ("train", {"settings": ["data.allow_external=true"]}),
        ("train", {"recipe": "/etc/passwd"}),
        ("predict", {"images": ["../../x"]}),
        ("predict", {"images": "some"}),
        ("predict", {"model": "../../evil"}),
        ("predict", {"model": "round-999"}),
    ],
)
def test_a_page_chooses_neither_files_nor_code(served, root, program, path, content):
    client = served()
    labeled(client)
    assert client.post(f"/api/{path}", json=content).status_code in (400, 404)
    assert not list(root(client).glob("runs/*.set"))


def test_a_demonstration_trains_nothing(served):
    client = served(demo=True)
    assert client.post("/api/train", json={}).status_code == 403
    assert client.site.uploads.limits.nbytes == 20_000_000
    assert client.site.jobs._defaults.seconds == 120


def test_a_prediction_of_a_demonstration_is_ended_in_time(served, program):
    client = served(demo=True)
    job = Job("predict-001", "predict", client.site.workspace.notes, ("x", "--out", "y"),
              client.site.workspace.notes, 1)  # fmt: skip
    client.site.workspace.notes.mkdir()
    started = processes.start(job, seconds=0.0)
    while started.running():
        time.sleep(0.02)
    assert processes.ended(started, 0, 1) == "failed"


def test_a_noted_exit_code_is_the_end_of_a_job(tmp_path, monkeypatch):
    """Its writer may still wait for the disk; nobody who saw the code must find a running job."""
    noted, disk = threading.Event(), threading.Event()

    def write(path, content):
        atomic_write(path, content)
        if path.name == "exit.json":
            noted.set()
            disk.wait(60)

    monkeypatch.setattr(processes, "atomic_write", write)
    monkeypatch.setattr(processes, "PROGRAM", (sys.executable, "-c", "import sys; sys.exit(3)"))
    first = processes.start(Job("predict-001", "predict", tmp_path, (), tmp_path, 1))
    assert noted.wait(60)
    assert not first.running()
    assert processes.ended(first, 0, 1) == "failed"
    # Started again meanwhile, it is awaited until its own end, not until that of the first one.
    monkeypatch.setattr(processes, "_launch", lambda job, more: _Sleeper())
    again = processes.start(first)
    disk.set()
    assert again.running()
    _Sleeper.ends.set()
    while again.running():
        time.sleep(0.02)


class _Sleeper:
    """A child without a process; only the thread that waits for it knows that it runs."""

    ends = threading.Event()
    pid = -1

    def wait(self, seconds):
        self.ends.wait(60)
        return 0


def test_scores_of_held_out_images_are_listed(served, root, program):
    client = served()
    labeled(client)
    client.post("/api/train", json={"updates": 2})
    client.wait("round-001", "done")
    with (root(client) / "runs" / "round-001" / "journal.jsonl").open("a") as journal:
        journal.write('{"step": 2, "validation/f1@0.5": 0.5, "loss": 1}\n{"step": 2, "lo')
    (job,) = client.json("/api/jobs")["jobs"]
    assert (job["scores"], job["objects"], job["done"]) == ({"f1@0.5": 0.5}, 1, 2)


def test_the_newest_picture_of_held_out_images_is_shown(served, root, program):
    client = served()
    labeled(client)
    client.post("/api/train", json={"updates": 2})
    assert client.wait("round-001", "done")["picture"] is False
    assert client.get("/api/jobs/round-001/pictures/0").status_code == 404
    folder = root(client) / "runs" / "round-001" / "pictures"
    folder.mkdir()
    for step in (10, 20):
        (folder / f"step-{step:06d}.png").write_bytes(b"%d" % step)
    assert client.json("/api/jobs/round-001")["picture"] is True
    response = client.get("/api/jobs/round-001/pictures/0")
    assert (response.content, response.headers["content-type"]) == (b"20", "image/png")
