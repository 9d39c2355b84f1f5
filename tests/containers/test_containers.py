"""Recipes of containers: the rules of linters that matter, and files that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "containers"
FILES = [FOLDER / "Dockerfile", FOLDER / "space" / "Containerfile"]


def instructions(path: Path) -> list[tuple[str, str]]:
    """Keyword and arguments of each instruction; comments are left out and lines joined."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines()
             if not line.lstrip().startswith("#")]  # fmt: skip
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split()[0], line.partition(" ")[2]) for line in text.splitlines() if line.strip()]


def problems(steps: list[tuple[str, str]]) -> list[str]:
    """What is wrong with a recipe, by the rules of hadolint that apply to ours."""
    found = []
    users = [given for word, given in steps if word == "USER"]
    if not users or users[-1] in ("root", "0"):
        found.append("DL3002: the last user is root")
    for word, given in steps:
        if word == "FROM" and re.search(r":latest\b", given):
            found.append(f"DL3007: {given}")
        if word == "ADD":
            found.append(f"DL3020: COPY instead of ADD {given}")
        if word in ("CMD", "ENTRYPOINT") and not given.startswith("["):
            found.append(f"DL3025: {word} {given}")
        if word == "WORKDIR" and not given.startswith("/"):
            found.append(f"DL3000: {given}")
        if word == "RUN" and "sudo" in given:
            found.append(f"DL3004: {given}")
        if word == "RUN" and "pip install" in given and "constraints.txt" not in given:
            found.append(f"DL3013: versions are not pinned: {given}")
        if word == "RUN" and "apt-get install" in given and "/var/lib/apt/lists" not in given:
            found.append(f"DL3009: {given}")
    return found


def named(steps: list[tuple[str, str]]) -> set[str]:
    """Files of the clone that are copied."""
    plain = [
        given.split()[:-1] for word, given in steps if word == "COPY" and "--from" not in given
    ]
    return {name for names in plain for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_recipes_follow_the_rules(path):
    assert problems(instructions(path)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_copied_files_exist_and_are_sent_to_the_builder(path):
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in named(instructions(path)):
        assert (ROOT / name).exists(), name
        assert f"!{name}" in sent, name


def test_the_rules_can_fail():
    steps = [("FROM", "debian:latest"), ("RUN", "pip install torch"), ("CMD", "unmask")]
    assert [line.split(":")[0] for line in problems(steps)] == [
        "DL3002", "DL3007", "DL3013", "DL3025",
    ]  # fmt: skip


def test_the_image_is_unmask():
    steps = dict(instructions(FOLDER / "Dockerfile"))
    assert steps["ENTRYPOINT"] == '["unmask"]'
    assert steps["USER"] == "1000"
    # Builds for CPUs unless another index is given.
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^ARG TORCH_INDEX=\S+/cpu$", text, re.MULTILINE)


def test_recipes_take_the_same_pytorch():
    versions = {
        match
        for path in (ROOT / "Makefile", FOLDER / "Dockerfile", FOLDER / "unmask.def",
                     ROOT / "packaging" / "smoke.sh")
        for match in re.findall(r"torch==[\d.]+", path.read_text(encoding="utf-8"))
    }  # fmt: skip
    assert len(versions) == 1


def test_the_definition_for_clusters_is_complete():
    text = (FOLDER / "unmask.def").read_text(encoding="utf-8")
    sections = re.findall(r"^%(\w+)", text, re.MULTILINE)
    assert {"files", "post", "environment", "runscript", "test", "help"} <= set(sections)
    files = re.search(r"^%files\n((?:    .*\n)+)", text, re.MULTILINE)
    assert files is not None
    for line in files[1].splitlines():
        assert (ROOT / line.split()[0]).exists(), line
    arguments = set(re.findall(r"{{ (\w+) }}", text))
    header = text.partition("%arguments")[2].partition("%files")[0]
    declared = set(re.findall(r"^    (\w+)=", header, re.MULTILINE))
    assert arguments == declared


@pytest.mark.parametrize("name", ["containers/build.sh", "packaging/smoke.sh"])
def test_scripts_are_valid(name):
    done = subprocess.run(
        ["bash", "-n", str(ROOT / name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (ROOT / name).stat().st_mode & 0o100
