"""Named points in the writing path at which tests end the process or fill the disk."""

from __future__ import annotations

import errno
import os
import signal

_VARIABLE = "UNMASK_FAULT"


def fault_point(name: str) -> None:
    """Do nothing, unless ``UNMASK_FAULT=name:nth:action`` names this point.

    ``action`` is ``kill`` (SIGKILL, as by the kernel when memory is short) or ``enospc`` (the disk
    is full). The count lives in the variable itself, so that no module holds state.
    """
    order = os.environ.get(_VARIABLE)
    if order is None:
        return
    wanted, nth, action = order.split(":")
    if wanted != name:
        return
    if int(nth) > 1:
        os.environ[_VARIABLE] = f"{wanted}:{int(nth) - 1}:{action}"
        return
    del os.environ[_VARIABLE]
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
