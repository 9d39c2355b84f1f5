"""Every verb works without the modules, functions and signals that only POSIX has.

No Windows or macOS machine is at hand where this is developed, so what they lack is hidden.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import torch
import yaml

from unmask.checkpoint import unpickle
from unmask.cli import app

VERBS = [command.callback for command in app.registered_commands if command.callback]
SOURCE = Path(__file__).resolve().parents[1] / "src"
POSIX = {"fcntl", "resource", "termios", "pwd", "grp", "posix", "tty", "pty", "syslog"}

# Other packages are imported before: they take care of their systems themselves.
HIDE = """
import json, sys, os, signal
import dask.threaded, distributed, h5py, lightning_fabric, matplotlib.pyplot, nibabel, numba
import PIL.Image, pydantic, rich.progress, scipy.ndimage, skimage.measure, tifffile, torch, typer
import torch.utils.tensorboard, yaml, zarr, imagecodecs
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None
for name in dir(signal):
    if name.startswith("SIG") and name not in ("SIGINT", "SIGTERM", "SIGABRT", "SIG_DFL", "SIG_IGN",
                                               "SIGFPE", "SIGILL", "SIGSEGV"):
        delattr(signal, name)
for name in ("fork", "getuid", "geteuid", "sysconf", "pread", "pwrite",
             "getpgid", "killpg", "mkfifo", "getloadavg", "fchmod", "fchown", "chown", "nice",
             "O_DIRECTORY", "posix_fadvise", "sync", "uname"):
    if hasattr(os, name):
        delattr(os, name)
plain = os.open
def no_folders(path, *more, **named):
    if not named.get("dir_fd") and os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return plain(path, *more, **named)
import shutil
shutil._use_fd_functions = False
shutil.rmtree.avoids_symlink_attacks = False
os.open = no_folders
"""

PROGRAM = """
from pathlib import Path
from unmask.cli import main
from unmask.apps import demo
from unmask.phantoms.cells import write_set
import warnings
warnings.filterwarnings("ignore", message=".*cannot lock files")

vit = "model.backbone={name: vit, patch: [8, 8], dim: 24, depth: 2, heads: 2}"
demo._PHANTOMS, demo._LABELED, demo._UNSEEN, demo._SHAPES = 3, 2, 1, {2: (48, 48)}
demo._SETTINGS, demo._BACKBONE = {2: ["data.channels=1", "data.crop=[32, 32]"]}, {2: vit}
demo._START, demo._TRAIN, demo._BATCH = {2: 1}, {2: 1}, {2: 2}
out = Path(sys.argv[1])
folder = write_set(out / "set", "nuclei", shape=(48, 40), count=5, seed=1)
images, labels, classes = folder / "images", folder / "labels", folder / "classes"
small = ["data.crop=[32, 32]", "data.channels=1", "train.steps=2", "train.batch_size=2",
         "train.precision='32'", "infer.precision='32'"]
net = [*small, "model.backbone={name: resunet, width: 4, depth: 3}"]
def settings(lines):
    return [part for line in lines for part in ("--set", line)]
weights = out / "weights.pth"
torch.save({"model": {"a": torch.ones(2)}}, weights)
runs = out / "runs"
train = ["train", "--preset", "semantic2d", "--images", images, "--labels", classes,
         *settings([*net, "task.classes=2"])]
predict = ["predict", "--model", runs / "a", images, "--out", out / "predicted", "--scores",
           "--set", "infer.block=[30, 30]"]
cluster = ["cluster", images, "--model", runs / "pre", "--out", out / "clusters", "--classes", "2",
           "--quality", "draft"]
expected = {
    "demo": (["demo", "--out", out / "demo"], 0),
    "presets": (["presets"], 0),
    "models": (["models"], 0),
    "prepare": (["prepare"], 0),
    "info": (["info"], 0),
    "plan": (["plan", images, "--labels", labels], 0),
    "select": (["select", images, "--count", "1"], 0),
    "serve": (["serve", out / "no such folder"], 2),
    "synth": (["synth", "--kind", "nuclei", "--count", "2", "--size", "32,32",
               "--out", out / "drawn"], 0),
    "check": (["check", images, "--labels", labels, *settings(net)], 0),
    "pretrain": (["pretrain", "--preset", "mae2d", "--images", images, "--out", runs / "pre",
                  *settings([*small, vit])], 0),
    "train": ([*train, "--out", runs / "a"], 0),
    "train again": ([*train, "--out", runs / "a", "--resume"], 0),
    "predict": (predict, 0),
    "predict again": ([*predict, "--resume"], 0),
    "cluster": (cluster, 0),
    "evaluate": (["evaluate", "--truth", classes, "--predicted", out / "predicted", "--metrics",
                  "dice", "--out", out / "report.json"], 0),
    "measure": (["measure", "--labels", classes, "--images", images,
                 "--out", out / "table.csv"], 0),
    "tune": (["tune", runs / "a", images, "--labels", classes, "--scales", "0.5", "--trials", "2"],
             0),
    "view": (["view", classes, "--images", images, "--export", out / "public"], 0),
    "folds": (["folds", out / "report.json", out / "report.json", "--out", out / "folds.json"], 0),
    "curve": (["curve", "--preset", "semantic2d", "--images", images, "--labels", classes,
               "--labels-per-run", "1", "--repeats", "1", "--out", out / "curve",
               *settings([*net, "task.classes=2"])], 0),
    "plot": (["plot", runs / "a", "--out", out / "plot.png"], 0),
    "share": (["share", runs / "a", "--to", out / "shared", "--license", "MIT"], 0),
    "convert": (["convert", weights, "--source", "mae", "--out", out / "mae.safetensors"], 2),
    "export": (["export", "--model", runs / "a", "--format", "torchscript",
                "--out", out / "a.pt"], 0),
}
wrong = {}
for name, (given, code) in expected.items():
    sys.argv = ["unmask", *map(str, given)]
    try:
        main()
    except SystemExit as end:
        if (end.code or 0) != code:
            wrong[name] = end.code
(out / "wrong.json").write_text(json.dumps([sorted(expected), wrong]))
"""


def test_every_verb_without_posix(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", HIDE + PROGRAM, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    names, wrong = json.loads((tmp_path / "wrong.json").read_text())
    assert not wrong, done.stderr
    assert {verb.__name__ for verb in VERBS} <= set(names)


def test_weights_are_opened_without_limits_where_there_are_none(tmp_path, monkeypatch):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth")
    monkeypatch.setitem(sys.modules, "resource", None)
    unpickle.main(str(tmp_path / "a.pth"), str(tmp_path / "a.safetensors"), 1 << 40, 600)
    assert (tmp_path / "a.safetensors").exists()


def imported(path: Path) -> set[str]:
    """Modules of other packages that a file imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


def test_no_module_of_one_system_is_imported():
    """Where one is needed, `importlib` is asked for it and another way is ready."""
    alone = POSIX | {"msvcrt", "winreg"}
    assert not {
        str(path): found for path in SOURCE.rglob("*.py") if (found := imported(path) & alone)
    }


def test_the_workflow_covers_what_the_project_promises():
    """The file is YAML, and tests every system and Python version of the classifiers."""
    root = SOURCE.parent
    text = (root / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    matrix = jobs["quick"]["strategy"]["matrix"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    promised = set(re.findall(r"Python :: (3\.\d+)", project))
    assert promised <= set(matrix["python"])
    assert all("timeout-minutes" in job for job in jobs.values())


def test_the_oldest_versions_come_from_the_project():
    root = SOURCE.parent
    done = subprocess.run(
        [sys.executable, str(root / ".ci" / "oldest.py")],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"^numpy~=2\.0\.0$", done.stdout, re.MULTILINE)
    assert len(done.stdout.splitlines()) > 15
