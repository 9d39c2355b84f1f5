"""A served folder, and a client that talks to it inside this process."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from unmask.recipe import load
from unmask.serve import processes
from unmask.serve.app import make_app
from unmask.serve.guard import Access, Application
from unmask.serve.site import Site, make_site
from unmask.serve.workspace import open_workspace

HOST = "http://127.0.0.1:8420"
# Milliseconds after which a state of the page will never come; machines may be very busy.
PATIENCE = 120_000


# Stands in for `unmask`: a training that writes a journal and ends on request, a quick prediction.
PROGRAM = """
import json, pathlib, shutil, signal, sys, time
verb, out = sys.argv[1], pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
if verb == "train":
    shutil.copy(pathlib.Path(__file__).with_name("recipe.yaml"), out)
    steps = next(int(a[12:]) for a in sys.argv if a.startswith("train.steps="))
    first = 11 if "--resume" in sys.argv else 1
    for step in range(first, steps + 1):
        with (out / "journal.jsonl").open("a") as journal:
            journal.write(json.dumps({"step": step, "loss": 1 / step}) + "\\n")
        while step == 10 and steps > 10:
            time.sleep(0.02)
    (out / "model.safetensors").write_text("")
else:
    listing = json.loads(pathlib.Path(sys.argv[2]).read_text())["training"]
    labels = pathlib.Path(__file__).with_name("labels")
    for number, case in enumerate(listing, 1):
        name = pathlib.Path(case["image"]).name
        shutil.copy(labels / name, out / name)
        print(f"[{number}/{len(listing)}] {name}")
    if verb == "cluster":
        (out / "clusters.csv").write_text("image,cluster")
        (out / "contact").mkdir()
    if "fail" in sys.argv[sys.argv.index("--model") + 1]:
        sys.exit("Error: it failed")
"""


@dataclass(frozen=True)
class Client:
    """Requests to the application, answered inside this process."""

    site: Site
    access: Access = field(default_factory=Access)

    @cached_property
    def app(self) -> Application:
        return make_app(self.site, self.access)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        app = self.app

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            base = more.pop("base", HOST)
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                return await client.request(method, path, **more)

        # A thread of its own: the browser's driver leaves a running loop in this one.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, ask()).result()

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)

    def json(self, path: str) -> Any:
        response = self.get(path)
        assert response.status_code == 200, response.text
        return response.json()

    def wait(self, identity: str, *states: str) -> Any:
        """A job once it is in one of these states."""
        for _ in range(6000):
            job = self.json(f"/api/jobs/{identity}")
            if job["state"] in states:
                return job
            time.sleep(0.05)
        pytest.fail(f"{identity} is not {states}")

    def image(self, number: int = 0) -> str:
        """Id of an image."""
        return self.json("/api/images")["images"][number]["id"]

    def put(
        self, identity: str, ids: np.ndarray, *, offset: Any = None, version: str | None = None
    ) -> httpx.Response:
        """Save labels."""
        headers = {"x-shape": ",".join(map(str, ids.shape)), "x-dtype": ids.dtype.name}
        if offset is not None:
            headers["x-offset"] = ",".join(map(str, offset))
        if version is not None:
            headers["if-match"] = f'"{version}"'
        content = ids.astype(ids.dtype.newbyteorder("<")).tobytes()
        return self.request("PUT", f"/api/labels/{identity}", content=content, headers=headers)

    def note(self, identity: str, *, version: str = "0", **changes: Any) -> httpx.Response:
        """Change boxes, marks or what is held out."""
        headers = {"if-match": f'"{version}"'}
        return self.request("PATCH", f"/api/image/{identity}", json=changes, headers=headers)

    def labels(self, identity: str, query: str = "") -> np.ndarray:
        """Labels as the server sends them."""
        response = self.get(f"/api/labels/{identity}{query}")
        assert response.status_code == 200, response.text
        shape = tuple(map(int, response.headers["x-shape"].split(",")))
        dtype = np.dtype(response.headers["x-dtype"]).newbyteorder("<")
        return np.frombuffer(response.content, dtype).reshape(shape)


@pytest.fixture
def served(tmp_path, phantoms):
    """``served(ndim)``: a client of a folder with unlabeled images."""

    def make(ndim: int = 2, **options: Any) -> Client:
        folder = tmp_path / f"served{ndim}"
        shutil.copytree(phantoms[ndim] / "images", folder)
        return Client(make_site(open_workspace(folder), **options))

    return make


@pytest.fixture
def program(tmp_path, monkeypatch, phantoms):
    """Jobs run the program above."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    (tmp_path / "recipe.yaml").write_text(load("cells").to_yaml())
    (tmp_path / "labels").symlink_to(phantoms[2] / "labels")
    monkeypatch.setattr(processes, "PROGRAM", (sys.executable, str(script)))


@pytest.fixture
def root():
    """The folder of a client."""

    def of(client: Client) -> Path:
        return client.site.workspace.root

    return of


@pytest.fixture
def new_page(browser):
    """Makes a page whose waits end with a state: only a fault takes as long as their limit."""
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE)
    made: list[Any] = []

    def make() -> Any:
        made.append(browser.new_page(viewport={"width": 1280, "height": 720}))
        made[-1].set_default_timeout(PATIENCE)
        return made[-1]

    yield make
    for page in made:
        page.close()


@pytest.fixture
def page(new_page):
    """A page in which no script may fail."""
    page = new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []


def pytest_addoption(parser):
    """``--keep-pictures`` renews the pictures of the tutorial."""
    parser.addoption("--keep-pictures", action="store_true", help="write docs/tutorials/images")
