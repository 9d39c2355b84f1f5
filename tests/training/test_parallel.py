import json
from pathlib import Path

import pytest
import torch

from unmask.errors import RecipeError
from unmask.training import choose_precision, count_processes, make_fabric
from unmask.training.parallel import speed_up_cuda

WORKER = """
import json, os, sys
from itertools import count
from pathlib import Path
import torch
from torch import nn
from unmask.models.base import Objective, Step
from unmask.space.batch import Batch
from unmask.errors import Interrupted
from unmask.training import (Journal, Plan, RunFolder, fit, launch, make_fabric)
from unmask.training.validation import Validated
from unmask.optim import adamw

class Net(Objective):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.unused = nn.Linear(3, 1), nn.Linear(2, 2)
        self.calls = 0
    def step(self, batch):
        self.calls += 1
        loss = (self.layer(batch.image) - 1).square().mean()
        if fabric.global_rank == 1 and self.calls == 5:
            loss = loss * float("nan")
        if fabric.global_rank == 1 and self.calls == 7:
            if what == "stop":
                os.kill(os.getpid(), 15)
            if what == "break":
                raise ValueError("one process alone")
        return Step(loss)

def batches(start):
    share, rank = 4 // fabric.world_size, fabric.global_rank
    for number in count(start):
        images = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
        yield Batch(images[rank * share : (rank + 1) * share])

class Shares:
    def __call__(self, net):
        raise AssertionError("several processes divide a validation")
    def measure(self, net, first, step):
        (folder / f"measured-{first}-of-{step}").touch()
        return [(number, 10 * number) for number in range(first, 5, step)]
    def summarize(self, net, results):
        assert results == [0, 10, 20, 30, 40], results
        return Validated({"score": 1.0})

def learn(net):
    plan = Plan(steps=20, lr=0.05, save_every=10, log_every=1, validate_every=10)
    with launch(fabric), Journal(folder, steps=20, tensorboard=False, quiet=True) as journal:
        fit(net, batches, fabric=fabric, optimizer=adamw([{"params": list(net.parameters())}]),
            plan=plan, journal=journal, validate=Shares(),
            run=RunFolder(folder, resume=True))

folder, what = Path(sys.argv[1]), sys.argv[2]
fabric = make_fabric(int(sys.argv[3]), "32", "cpu")
net, code = Net(), 0
try:
    learn(net)
except Interrupted as end:
    code = end.code
tasks = Path("/proc/self/task")
names = [(task / "comm").read_text() for task in tasks.iterdir()] if tasks.is_dir() else []
left = [name for name in names if "gloo" in name]
torch.save([code, net.layer.weight.detach(), left], folder / f"rank{fabric.global_rank}.pt")
"""


def test_precision_names():
    assert choose_precision("32", "cuda") == "32-true"
    assert choose_precision("16", "cuda") == "16-mixed"
    assert choose_precision("bf16", "cpu") == "bf16-mixed"
    assert choose_precision("auto", "mps") == "32-true"
    has = torch.cpu.get_capabilities().get("avx512_bf16", False)
    assert choose_precision("auto", "cpu") == ("bf16-mixed" if has else "32-true")
    for name, device in [("16", "cpu"), ("8", "cuda")]:
        with pytest.raises(RecipeError, match=r"train\.precision.*Change"):
            choose_precision(name, device)


def test_what_was_started_is_taken(monkeypatch):
    assert count_processes(3) == (3, 1)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert count_processes(1) == count_processes(4) == (4, 2)
    with pytest.raises(RecipeError, match=r"--devices 3: expected 4 as torchrun started"):
        count_processes(3)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "6")
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "3")
    assert count_processes(1) == count_processes(2) == (2, 3)


@pytest.mark.parametrize("unused", [True, False])
def test_several_processes_look_for_unused_weights_only_if_there_are_any(unused):
    found = vars(make_fabric(2, "32", "cpu", unused=unused).strategy)["_ddp_kwargs"]
    assert found == {"find_unused_parameters": unused, "gradient_as_bucket_view": True}


def test_cuda_computes_in_tf32_with_measured_kernels(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    seen = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", seen.append)
    speed_up_cuda()
    assert (seen, torch.backends.cudnn.benchmark) == (["high"], True)


def test_one_process_is_bit_equal():
    fabric = make_fabric(accelerator="cpu", precision="32")
    assert fabric.world_size == 1
    assert fabric.device.type == "cpu"
    assert torch.are_deterministic_algorithms_enabled()


@pytest.fixture
def launch(two_processes):
    """Exit code and errors of two workers on a folder."""

    def run(folder: Path, what: str = "go") -> list[tuple[int, str]]:
        folder.mkdir(exist_ok=True)
        script = folder / "worker.py"
        script.write_text(WORKER)
        return two_processes(script, folder, what, 2)

    return run


@pytest.fixture
def finished(launch):
    """Exit codes and weights that two workers kept; no thread of their group is left."""

    def run(folder: Path, what: str = "go"):
        for code, errors in launch(folder, what):
            assert code == 0, errors
        kept = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
        assert [left for *_, left in kept] == [[], []]
        return [(code, weights) for code, weights, _ in kept]

    return run


@pytest.mark.slow
def test_two_processes_agree_stop_together_and_resume(tmp_path, finished):
    """Gradients are shared, a bad loss on one process is skipped on both, so is a signal."""
    whole = finished(tmp_path / "whole")
    assert [code for code, _ in whole] == [0, 0]
    assert torch.equal(whole[0][1], whole[1][1])
    lines = [json.loads(x) for x in (tmp_path / "whole" / "journal.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 21))
    assert lines[-1]["skipped"] == 1
    assert lines[-1]["validation/score"] == 1
    parts = sorted(path.name for path in (tmp_path / "whole").glob("measured-*"))
    assert parts == ["measured-0-of-2", "measured-1-of-2"]
    stopped = finished(tmp_path / "cut", "stop")
    assert [code for code, _ in stopped] == [143, 143]
    assert torch.equal(stopped[0][1], stopped[1][1])
    assert (tmp_path / "cut" / "snapshots" / "step-8").is_dir()
    resumed = finished(tmp_path / "cut")
    assert [code for code, _ in resumed] == [0, 0]
    assert torch.equal(resumed[0][1], resumed[1][1])


@pytest.mark.slow
def test_an_error_of_one_process_ends_both_without_an_abort(tmp_path, launch):
    """The error is what the user sees; nobody waits for a process that is gone."""
    ends = launch(tmp_path / "broken", "break")
    assert [code for code, _ in ends] == [1, 1]
    assert "one process alone" in ends[1][1]
