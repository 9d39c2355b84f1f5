"""Devices, precision and processes, by Lightning Fabric."""

from __future__ import annotations

import gc
import logging
import os
import traceback
import warnings
from collections.abc import Generator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import Strategy
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch import distributed

from unmask.errors import Interrupted, RecipeError
from unmask.space.bf16 import has_bf16

_NAMES = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def make_fabric(
    devices: int | str = "auto",
    precision: str = "auto",
    accelerator: str = "auto",
    *,
    num_nodes: int = 1,
    unused: bool = True,
) -> Fabric:
    """A Fabric that ``launch`` starts.

    On CPUs the deterministic algorithms of PyTorch are switched on, so that a resumed run equals
    the uninterrupted one bit by bit; on GPUs sums in another order are worth their speed.

    Args:
        devices: processes, "auto" for all GPUs or one CPU process.
        precision: "auto", "32", "bf16" or "16".
        accelerator: "auto", "cpu", "cuda", "mps".
        num_nodes: machines.
        unused: some weights may get no gradient in a step. Looking for them costs a walk over all
            operations of every step, and PyTorch warns if there are none.

    Raises:
        RecipeError: a precision that the device lacks.
    """
    device = device_type(accelerator)
    if device == "cpu":
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        # Filling fresh memory guards against reads of it, costs time, and changes no result.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        devices = 1 if devices == "auto" else devices
    if device == "cuda":
        speed_up_cuda()
    count = int(devices) if str(devices).isdigit() else torch.accelerator.device_count()
    strategy: Strategy | str = "auto"
    if count * num_nodes > 1:
        # Weights of 1x1 kernels and of one channel have strides that mean nothing.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        strategy = DDPStrategy(find_unused_parameters=unused, gradient_as_bucket_view=True)
    # Fabric prints the precision at every start; the journal has it.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(
        accelerator=device,
        devices=devices,
        strategy=strategy,
        num_nodes=num_nodes,
        precision=choose_precision(precision, device),  # type: ignore[arg-type]
    )


def speed_up_cuda() -> None:
    """Let CUDA choose its fastest kernels: TF32 for float32, and measured ones for convolutions.

    TF32 rounds the factors of a product to 10 bits and adds in float32. Crops have one size, so
    the measurement of each convolution is made once.
    """
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True


def count_processes(devices: int) -> tuple[int, int]:
    """Processes of this machine, and machines: those that torchrun or srun have started.

    Args:
        devices: processes asked for; 1 takes what was started, if anything was.

    Raises:
        RecipeError: other processes were started than asked for.

    Examples:
        >>> count_processes(2)
        (2, 1)
    """
    if distributed.is_torchelastic_launched():
        launcher, here, every = "torchrun", "LOCAL_WORLD_SIZE", "WORLD_SIZE"
        count, total = int(os.environ[here]), int(os.environ[every])
        machines = total // count
    elif "SLURM_STEP_NUM_TASKS" in os.environ and "SLURM_STEP_NUM_NODES" in os.environ:
        launcher, total = "srun", int(os.environ["SLURM_STEP_NUM_TASKS"])
        machines = int(os.environ["SLURM_STEP_NUM_NODES"])
        count = total // machines
    else:
        return devices, 1
    if devices not in {1, count} or count * machines != total:
        raise RecipeError(
            f"--devices {devices}: expected {count} as {launcher} started on this machine (as many "
            f"on each of {machines}, {total} in all). Leave --devices out."
        )
    return count, machines


def is_first() -> bool:
    """Whether this process speaks for all that train together."""
    return getattr(rank_zero_only, "rank", 0) == 0


@contextmanager
def launch(fabric: Fabric) -> Generator[None, None, None]:
    """Processes that work together inside the ``with`` block, and are separated after it.

    A group that is still open when the interpreter ends has threads that may want it for a last
    tensor; the process then aborts (SIGABRT) after its work is done. A group that was there before
    is left to the code that made it.
    """
    ours = not _has_group()
    fabric.launch()
    try:
        yield
        fabric.barrier()
    except Interrupted as end:
        # All processes stop at the same step, so nobody waits in vain.
        fabric.barrier()
        # The frames hold the wrapped model, and this the group.
        traceback.clear_frames(end.__traceback__)
        raise
    finally:
        if ours and _has_group():
            # The wrapped model goes first: as the last owner of the group it would wait for its
            # threads with the interpreter locked, and one of them might wait for this lock.
            gc.collect()
            distributed.destroy_process_group()


def _has_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def choose_precision(precision: str, device: str) -> str:
    """Fabric's name of a precision; "auto" takes bf16 where the hardware computes in it.

    NVIDIA GPUs without bf16 take float16.

    Raises:
        RecipeError: an unknown name, or half precision on a CPU.

    Examples:
        >>> choose_precision("32", "cpu")
        '32-true'
    """
    if precision == "auto":
        precision = "bf16" if has_bf16(device) else "16" if device == "cuda" else "32"
    if precision not in _NAMES or (precision == "16" and device == "cpu"):
        raise RecipeError(
            f"train.precision={precision!r} on {device}: expected auto, 32 or bf16 (16 on GPUs "
            "only). Change train.precision."
        )
    return _NAMES[precision]


def device_type(accelerator: str) -> str:
    """The type of device that "auto" stands for: "cuda", "mps" or "cpu"."""
    if accelerator != "auto":
        return "cuda" if accelerator == "gpu" else accelerator
    found = torch.accelerator.current_accelerator(check_available=True)
    return found.type if found is not None and found.type in {"cuda", "mps"} else "cpu"
