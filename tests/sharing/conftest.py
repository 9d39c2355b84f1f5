"""A hub of models on 127.0.0.1: what the client of the hub asks for, and nothing more."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from unmask import hub

COMMIT = "a" * 40


@dataclass
class FakeHub:
    """Repositories by name; each holds files by path."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    etag: str = ""  # in place of the SHA-256 of a file
    accepts: bool = True  # uploads

    def put(self, name: str, **files: bytes) -> None:
        self.repositories[name] = {key.replace("__", "."): value for key, value in files.items()}


class Handler(BaseHTTPRequestHandler):
    state: FakeHub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def answer(self, code: int, body: object = None, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.state.requests.append(f"{self.command} {self.path}")
        parts = self.path.partition("?")[0].strip("/").split("/", 4)
        owner, name, _, revision, file = (*parts, *([""] * 5))[:5]
        files = self.state.repositories.get(f"{owner}/{name}")
        if files is None:
            self.answer(404, X_Error_Code="RepoNotFound")
        elif revision not in ("main", COMMIT):
            self.answer(404, X_Error_Code="RevisionNotFound")
        elif file not in files:
            self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
        else:
            digest = self.state.etag or hashlib.sha256(files[file]).hexdigest()
            self.answer(200, files[file], ETag=f'"{digest}"', X_Repo_Commit=COMMIT)

    def do_POST(self) -> None:
        self.state.requests.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = f"http://{self.headers['Host']}"
        if not self.state.accepts:
            self.answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, [asked.get("organization"), asked["name"]]))
            self.state.repositories.setdefault(name, {})
            self.state.private[name] = asked.get("visibility") == "private" or asked.get("private")
            self.answer(200, {"url": f"{address}/{name}"})
        elif self.path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            plain = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            self.answer(200, {"files": [{"path": path, **plain} for path in paths]})
        elif "/commit/" in self.path:
            name = "/".join(self.path.split("/")[3:5])
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    content = base64.b64decode(entry["value"]["content"])
                    self.state.repositories[name][entry["value"]["path"]] = content
            done = {"commitUrl": f"{address}/{name}/commit/{COMMIT}", "commitOid": COMMIT}
            self.answer(200, {"success": True, **done})
        else:
            self.answer(404)


@pytest.fixture
def fake_hub(tmp_path, monkeypatch) -> Iterator[FakeHub]:
    """The hub; the client asks it alone, and has an empty cache."""
    pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    state = FakeHub()
    handler = type("Bound", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    use_hub(monkeypatch, tmp_path, f"http://127.0.0.1:{server.server_address[1]}")
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def no_hub(tmp_path, monkeypatch) -> None:
    """No hub answers: nothing listens on the port."""
    pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    use_hub(monkeypatch, tmp_path, "http://127.0.0.1:9")


def use_hub(monkeypatch, folder, address: str) -> None:
    from huggingface_hub import constants

    cache = str(folder / "hub cache")
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_HUB_CACHE", cache)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", cache)
    monkeypatch.setattr(hub, "_PATIENCE", 1)
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    hub._fetch.cache_clear()
