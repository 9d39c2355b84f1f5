"""Start the server and say where it is."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from unmask import checkpoint
from unmask.errors import DataError, MissingPackageError, message
from unmask.serve.commands import Defaults
from unmask.serve.guard import LOOPBACK, Access
from unmask.serve.workspace import open_workspace


@dataclass(frozen=True)
class Address:
    """Where the server listens.

    Attributes:
        host: address or name of this machine.
        port: number; 0 for any free one.
    """

    host: str = "127.0.0.1"
    port: int = 8420


def serve(
    folder: Path | str,
    *,
    address: Address | None = None,
    axes: str | None = None,
    defaults: Defaults | None = None,
    demo: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Serve a folder until Ctrl-C.

    Args:
        folder: holds the images.
        address: where to listen.
        axes: axes of files that do not say theirs.
        defaults: recipe and model.
        demo: a public page: no training, small uploads.
        say: gets the address of the page.

    Raises:
        DataError: there is no such folder, or the port is taken.
        CheckpointError: another server has the folder.
        MissingPackageError: the extra ``serve`` is not installed.
    """
    try:
        import uvicorn

        from unmask.serve.app import make_app
        from unmask.serve.site import make_site, warm_up
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            message("unmask serve", expected="the packages of the extra serve",
                    found=f"no {error.name}", do="pip install 'unmask[serve]'")
        ) from error  # fmt: skip
    where, workspace = address or Address(), open_workspace(folder, axes=axes)
    public = demo and where.host not in LOOPBACK
    token = None if where.host in LOOPBACK or public else secrets.token_urlsafe(24)
    held = checkpoint.lock_run(workspace.notes, instead="serve a copy of the folder")
    with held, _listening(where) as listener:
        site = make_site(workspace, defaults=defaults, demo=demo)
        # Nobody else receives here: the folder is locked.
        site.uploads.sweep()
        threading.Thread(target=warm_up, args=(site,), daemon=True).start()
        say(_url(where.host, listener.getsockname()[1], token))
        config = uvicorn.Config(
            make_app(site, Access(where.host, token, public)),
            log_level="warning", access_log=False,
            server_header=False, ws="none", timeout_graceful_shutdown=10,
        )  # fmt: skip
        server = uvicorn.Server(config)
        ending = server.handle_exit

        def end(sig: int, frame: FrameType | None) -> None:
            # Streams of progress would otherwise keep the server.
            site.closing.set()
            ending(sig, frame)

        server.handle_exit = end
        with _quiet_at_the_end(site.closing):
            server.run(sockets=[listener])


@contextmanager
def _quiet_at_the_end(closing: threading.Event) -> Generator[None, None, None]:
    """Log no error of a request that the end of the server cuts off."""
    log = logging.getLogger("uvicorn.error")

    def keep(_: logging.LogRecord) -> bool:
        return not closing.is_set()

    log.addFilter(keep)
    try:
        yield
    finally:
        log.removeFilter(keep)


def _url(host: str, port: int, token: str | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


def _listening(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise DataError(
            message(f"{address.host}:{address.port}", expected="a free port",
                    found=error.strerror or str(error), do="Choose another one with --port.")
        ) from error  # fmt: skip
    return listener
