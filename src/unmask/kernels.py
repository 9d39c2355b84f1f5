"""Kernels that numba compiles when they are first called, kept on disk if a folder can be written.

numba and its first kernel take 0.6 s of processor time, which is a third of ``import torch``. So
a kernel is a `Kernel` until it is called: most commands need none or a few of the 120 kernels.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from functools import cache, update_wrapper
from pathlib import Path
from threading import RLock
from types import CodeType, FunctionType
from typing import Any

from unmask.startup import without_collection

_LOG = logging.getLogger("unmask")
# Measured for `unmask predict` on two cores; other commands take 5 to 40 s.
_SECONDS = 30
# Two threads that call a kernel for the first time make one dispatcher.
_LOCK = RLock()


class Kernel:
    """A function that numba compiles, or loads from its cache, when it is first called.

    Args:
        function: of a module; kernels that it calls are globals of that module.
        options: of ``numba.njit``.
    """

    def __init__(self, function: FunctionType, options: Mapping[str, Any]) -> None:
        update_wrapper(self, function)
        self._function = function
        self._options = dict(options)
        self._dispatcher: Any = None
        self._ready = False

    def __call__(self, *args: Any) -> Any:
        """The compiled function's value."""
        if self._ready:
            return self._dispatcher(*args)
        with without_collection():
            return self.compiled(*args)

    @property
    def compiled(self) -> Any:
        """Numba's dispatcher; it compiles for the types of each call."""
        with _LOCK:
            if self._dispatcher is None:
                # A kernel may call itself, so the dispatcher comes first.
                self._dispatcher = _dispatcher(self._function, self._options)
                _compile_callees(self._function)
                self._ready = True
        return self._dispatcher


def njit(
    *, cache: bool, nogil: bool, fastmath: bool | set[str] = False
) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit`` for a function of a module, which is compiled when it is first called."""

    def decorate(function: Callable[..., Any]) -> Any:
        assert isinstance(function, FunctionType)  # noqa: S101 - a mistake of ours, at import
        return Kernel(function, {"cache": cache, "nogil": nogil, "fastmath": fastmath})

    return decorate


def _dispatcher(function: FunctionType, options: dict[str, Any]) -> Any:
    """``numba.njit``, without the cache where neither the package's folder nor HOME can be written.

    numba itself gives up with an error there, which would end every command on a read-only system.
    """
    with without_collection():
        import numba

        _import_array_functions()
        _listen()
    compiler: Any = numba.njit
    try:
        return compiler(**options)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return compiler(**{**options, "cache": False})(function)


@cache
def _import_array_functions() -> None:
    """Import numba's array functions without ``scipy.linalg``, which takes 0.1 s of processor time.

    They import it only to see that it is there. It is, with scipy, which unmask depends on; a
    function that needs it for its own products imports it when it is compiled.
    """
    from numba.np import linalg

    check = linalg.ensure_blas
    linalg.ensure_blas = lambda: None
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        linalg.ensure_blas = check


def _compile_callees(function: FunctionType) -> None:
    """Put dispatchers in the place of the kernels that a function calls: numba knows only those."""
    names = function.__globals__
    for name in set(_names(function.__code__)):
        if isinstance(kernel := names.get(name), Kernel):
            names[name] = kernel.compiled


def _names(code: CodeType) -> Iterator[str]:
    """Global names of a function and of the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


@cache
def _listen() -> None:
    """Report the first kernel of a process that is really compiled: it takes seconds, not ms."""
    from numba.core import event

    class Reporter(event.Listener):
        reported = False

        def on_start(self, event: Any) -> None:
            # Workers compile the same kernels at the same time.
            if self.reported or multiprocessing.parent_process() is not None:
                return
            Reporter.reported = True
            _report(event.data["dispatcher"])

        def on_end(self, event: Any) -> None:
            pass

    event.register("numba:compile", Reporter())


def _report(dispatcher: Any) -> None:
    """One line about compiling, unless the kernel was compiled before, for other types."""
    folder = dispatcher.stats.cache_path
    if folder is None:
        _LOG.warning(
            "Compiling kernels (about %d s in every run: neither the package's folder nor HOME "
            "can be written; set NUMBA_CACHE_DIR to a folder that can).",
            _SECONDS,
        )
    elif not _holds_kernels(Path(folder)):
        _LOG.warning("Compiling kernels for this machine (once, about %d s).", _SECONDS)
    elif not _is_kept(dispatcher.py_func, Path(folder)):
        # Other commands have compiled theirs; this one needs more.
        _LOG.warning(
            "Compiling more kernels for this machine, which this command needs (once, some "
            "seconds; the first is in %s).",
            dispatcher.py_func.__module__,
        )


def _holds_kernels(folder: Path) -> bool:
    """Whether any kernel of the package is in the cache that a folder belongs to."""
    inside = folder.name == "__pycache__"
    kept = Path(__file__).parent.rglob("*.nbi") if inside else folder.parent.glob("*/*.nbi")
    return next(kept, None) is not None


def _is_kept(function: FunctionType, folder: Path) -> bool:
    """Whether the cache holds a kernel of this version of the source, for whatever types."""
    source = Path(function.__code__.co_filename)
    indices = folder.glob(f"{source.stem}.{function.__qualname__}-*.nbi")
    return any(index.stat().st_mtime >= source.stat().st_mtime for index in indices)
