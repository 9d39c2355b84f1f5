"""OME-Zarr at an address, ``https://`` or ``s3://``: read with obstore, of the extra ``remote``.

Only the chunks that a read needs are fetched, each once. The server need not list folders: the
names of all files of a store follow from its metadata. Credentials for S3 come from the usual
variables (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...); without an access key, requests are
not signed.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from unmask.errors import DataError, message
from unmask.lookup import optional_import

_ADDRESS = re.compile(r"(https?|s3)://.+", re.IGNORECASE | re.DOTALL)
# Files of metadata in Zarr 2 and 3.
METADATA = ("zarr.json", ".zattrs", ".zarray", ".zgroup")
# Metadata are read several times while a store is opened, so they are cached for this time.
_FRESH_SECONDS = 20
# Timeouts in seconds for the connection, for the answer, and for all retries of a request.
_CONNECT, _ANSWER, _REPEAT = 10, 60, 20


def is_remote(path: object) -> bool:
    """Whether a path is an address.

    Examples:
        >>> is_remote("https://host/a.zarr"), is_remote("a.zarr")
        (True, False)
    """
    return isinstance(path, str) and _ADDRESS.fullmatch(path) is not None


@dataclass(frozen=True)
class RemotePath:
    """A file or folder of a remote store, with the methods of `pathlib.Path` that readers use.

    Attributes:
        root: address of the store.
        key: path inside the store.
    """

    root: str
    key: str = ""

    def __truediv__(self, other: object) -> RemotePath:
        return RemotePath(self.root, _joined(self.key, str(other)))

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    @property
    def name(self) -> str:
        """The last part."""
        return str(self).rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The suffix of the name, with its dot."""
        return os.path.splitext(self.name)[1]  # noqa: PTH122 - there is no path on a disk

    @property
    def parent(self) -> RemotePath:
        """The folder around it, inside the store."""
        return RemotePath(self.root, self.key.rpartition("/")[0])

    def resolve(self) -> RemotePath:
        """The path itself, because remote stores have no links."""
        return self

    def is_file(self) -> bool:
        """Whether it is a file; used for metadata only."""
        return _metadata(self.root, self.key) is not None

    def is_dir(self) -> bool:
        """Whether it is a group or an array of Zarr."""
        return any((self / name).is_file() for name in METADATA)

    def exists(self) -> bool:
        """Whether it is a group, an array or a file of metadata."""
        return self.is_dir() or (self.name in METADATA and self.is_file())

    def stat(self) -> os.stat_result:
        """A status that knows the size of a file of metadata only.

        Raises:
            FileNotFoundError: the address has no Zarr group, array or metadata.
        """
        content = _metadata(self.root, self.key) if self.name in METADATA else None
        if content is None and not self.is_dir():
            raise FileNotFoundError(2, "nothing there that is Zarr", str(self))
        return os.stat_result((0, 0, 0, 0, 0, 0, len(content or b""), 0, 0, 0))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Text of a file of metadata.

        Raises:
            FileNotFoundError: the file does not exist.
        """
        content = _metadata(self.root, self.key)
        if content is None:
            raise FileNotFoundError(2, "no such file", str(self))
        return content.decode(encoding)

    def read_bytes(self, limit: int) -> bytes | None:
        """Content of a file; None if there is none.

        Raises:
            ValueError: more than ``limit`` bytes.
            DataError: the server cannot be reached or refuses.
        """
        return _fetch(self.root, self.key, limit)

    def read_range(self, start: int, count: int, limit: int) -> bytes | None:
        """Some bytes of a file; counted from its end if ``start`` is negative; None if no file."""
        return _fetch_range(self.root, self.key, start, count, limit)


def remote_location(source: str) -> tuple[RemotePath, str]:
    """The store of an address and the path inside it.

    A store is the first part that ends in ``.zarr``, or the whole address.

    Examples:
        >>> remote_location("s3://b/a.zarr/labels/x")
        (RemotePath(root='s3://b/a.zarr', key=''), 'labels/x')
    """
    scheme, _, rest = source.rstrip("/").partition("://")
    parts = rest.split("/")
    found = (n for n, part in enumerate(parts, 1) if part.lower().endswith(".zarr"))
    end = next(found, len(parts))
    root = f"{scheme}://{'/'.join(parts[:end])}"
    return RemotePath(root), "/".join(part for part in parts[end:] if part)


def only_zarr(source: str) -> DataError:
    """Error for an address that is not a Zarr store."""
    return DataError(
        message(
            source,
            expected="the address of an OME-Zarr or Zarr array",
            found="nothing there that is Zarr (no zarr.json, .zattrs or .zarray)",
            do="Check the address and, if it is private, your credentials. Download files of other "
            "formats, and give the file.",
        )
    )


def _joined(key: str, other: str) -> str:
    """Join keys. ``..`` is escaped, because a server would follow it out of the store."""
    parts = [part for part in f"{key}/{other}".split("/") if part not in ("", ".")]
    return "/".join("%2E%2E" if part == ".." else part for part in parts)


def _metadata(root: str, key: str) -> bytes | None:
    return _metadata_at(root, key, int(time.monotonic() / _FRESH_SECONDS))


@lru_cache(maxsize=4096)
def _metadata_at(root: str, key: str, _: int) -> bytes | None:
    # One byte more than the 10 MiB that the reader of metadata accepts, which reports the size.
    return _fetch(root, key, 10 * 2**20 + 1, probe=True)


def _fetch(root: str, key: str, limit: int, *, probe: bool = False) -> bytes | None:
    obstore, store = _store(root)
    try:
        found = obstore.get(store, key)
        size = int(found.meta["size"])
        if size > limit:
            raise ValueError(f"{key} has {size} bytes, more than {limit}")
        return bytes(found.bytes())
    except FileNotFoundError:
        return None
    except (obstore.exceptions.BaseError, OSError) as error:
        # Buckets without permission to list files answer 403 for missing files.
        if probe and "403" in str(error):
            return None
        raise _failed(f"{root}/{key}", error) from error


def _fetch_range(root: str, key: str, start: int, count: int, limit: int) -> bytes | None:
    obstore, store = _store(root)
    try:
        if start >= 0:
            return bytes(obstore.get_range(store, key, start=start, length=count))
        return bytes(obstore.get(store, key, options={"range": {"suffix": count}}).bytes())
    except FileNotFoundError:
        return None
    except (obstore.exceptions.NotSupportedError, obstore.exceptions.GenericError):
        # A plain server sends whole files only.
        whole = _fetch(root, key, limit)
        if whole is None:
            return None
        return whole[start : start + count] if start >= 0 else whole[-count:]
    except (obstore.exceptions.BaseError, OSError) as error:
        raise _failed(f"{root}/{key}", error) from error


def _store(root: str) -> tuple[Any, Any]:
    obstore = optional_import("obstore", "remote")
    optional_import("obstore.exceptions", "remote")
    return obstore, _opened(root)


@lru_cache(maxsize=64)
def _opened(root: str) -> Any:
    from_url = optional_import("obstore.store", "remote").from_url
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    local = root.lower().startswith("http://") or endpoint.startswith("http://")
    given: dict[str, Any] = {
        "client_options": {
            "allow_http": local,
            "connect_timeout": timedelta(seconds=_CONNECT),
            "timeout": timedelta(seconds=_ANSWER),
        },
        "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=_REPEAT)},
    }
    if root.lower().startswith("s3://"):
        # Without credentials obstore would query a metadata service that exists on AWS only.
        given["skip_signature"] = not os.environ.get("AWS_ACCESS_KEY_ID")
        given["region"] = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        given = {key: value for key, value in given.items() if value is not None}
        if endpoint:
            given["endpoint"] = endpoint
    try:
        return from_url(root, **given)
    except Exception as error:
        # The library's errors for a wrong address have no common class.
        raise _failed(root, error) from error


def _failed(address: str, error: Exception) -> DataError:
    reason = re.split(r"\n\s*\n|Debug source", str(error))[0]
    reason = " ".join(reason.split())[:240]
    refused = "401" in reason or "403" in reason
    return DataError(
        message(
            address,
            expected="an answer of the server",
            found=reason or type(error).__name__,
            do="Check the address and your credentials."
            if refused
            else "Check the address and the connection, and try again.",
        )
    )
