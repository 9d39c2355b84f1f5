"""The SLURM scripts: their syntax, and what they start, with stand-ins for SLURM's programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None or os.name == "nt", reason="needs bash")

# Writes down its arguments; ``srun`` ends with a code, or waits until a signal ends it.
STAND_IN = """#!/bin/bash
echo "$(basename "$0") $*" >> "$LOG"
if [ "$(basename "$0")" = scontrol ] && [ "$1" = show ]; then echo node1; echo node2; fi
if [ "$(basename "$0")" = srun ]; then
  if [ "$WAIT" = 1 ]; then
    sleep 0.3; kill -USR1 "$PPID"
    sleep 20 & trap "kill $!; exit 143" TERM; wait
  fi
  exit "$CODE"
fi
"""


@pytest.fixture
def start(tmp_path):
    for name in ("srun", "scontrol"):
        (tmp_path / name).write_text(STAND_IN)
        (tmp_path / name).chmod(0o755)

    def run(script, *arguments, code=0, wait=0):
        slurm = {
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_GPUS_ON_NODE": "4",
        }
        given = {"CODE": str(code), "WAIT": str(wait), "LOG": str(tmp_path / "log")}
        paths = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        environment = os.environ | slurm | given | paths
        done = subprocess.run(
            [str(BASH), str(script), *map(str, arguments)], env=environment, timeout=60, check=False
        )
        return done.returncode, (tmp_path / "log").read_text()

    return run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_valid(script):
    done = subprocess.run([str(BASH), "-n", str(script)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    text = script.read_text()
    assert re.search(r"^#SBATCH --signal=(B:)?USR1@\d+$", text, re.MULTILINE)
    assert f"sbatch examples/{script.name}" in text


def test_torchrun_gets_nodes_and_processes(start, tmp_path):
    code, log = start(FOLDER / "slurm_torchrun.sh", "im ages", "labels", tmp_path / "run")
    assert code == 0
    assert "torchrun --nnodes 2 --nproc-per-node 4" in log
    assert "--rdzv-endpoint node1:29500 --rdzv-id 7" in log
    assert "unmask train im ages --labels labels" in log
    assert "--resume" not in log
    assert "requeue" not in log


def test_a_job_is_requeued_at_its_limit_and_resumes(start, tmp_path):
    (tmp_path / "run" / "snapshots").mkdir(parents=True)
    _, log = start(FOLDER / "slurm_torchrun.sh", "images", "labels", tmp_path / "run", wait=1)
    assert "--resume" in log
    assert "scontrol requeue 7" in log


@pytest.mark.parametrize(("code", "again"), [(0, False), (2, False), (143, True)])
def test_srun_decides_by_the_exit_code(code, again, start, tmp_path):
    found, log = start(FOLDER / "slurm_train.sh", "volumes", tmp_path / "run", code=code)
    assert found == code
    assert ("requeue" in log) == again
