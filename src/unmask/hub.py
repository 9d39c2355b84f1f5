"""Models on a hub, named ``hf:owner/name[@revision]``: fetched once, verified, read from a cache.

The client of the Hugging Face Hub does the transfer and keeps the cache (extra ``hub``). What it
fetches is compared with the digests that the repository states, before anything reads it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.errors import CheckpointError, RecipeError, message

PREFIX = "hf:"
MODEL, DIGESTS = "model.safetensors", "SHA256SUMS"
_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Seconds until a hub that does not answer counts as out of reach; a cached file is used then.
_PATIENCE = 10


@dataclass(frozen=True)
class HubModel:
    """Name of a model on the hub.

    Attributes:
        repository: owner and name.
        revision: a branch, a tag or a commit; None: the newest.
    """

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}" + (f"@{self.revision}" if self.revision else "")


def is_hub_name(model: str | Path) -> bool:
    """Whether a model is named as one on the hub; a path that exists goes before such a name."""
    return str(model).startswith(PREFIX) and not Path(model).exists()


def parse_name(model: str | Path) -> HubModel:
    """The parts of ``hf:owner/name[@revision]``.

    Raises:
        RecipeError: the name has another form.

    Examples:
        >>> parse_name("hf:lab/nuclei@v2")
        HubModel(repository='lab/nuclei', revision='v2')
    """
    # A path of Windows writes the separator as a backslash.
    text = str(model).replace("\\", "/").removeprefix(PREFIX)
    match = _NAME.fullmatch(text)
    if match is None or ".." in text:
        raise RecipeError(
            message(
                model,
                expected="hf:owner/name or hf:owner/name@revision",
                found=f"{text!r} after {PREFIX}",
                do="Copy owner and name from the page of the model.",
            )
        )
    return HubModel(match["repository"], match["revision"])


def endpoint() -> str | None:
    """Address of the hub, if it is another one than that of Hugging Face."""
    return os.environ.get("HF_ENDPOINT") or None


def fetch_model(model: str | Path) -> Path:
    """The verified file of a model on the hub, from the cache if it is there and unchanged.

    Raises:
        RecipeError: the name has another form.
        CheckpointError: there is no such model, it cannot be reached and is not in the cache, or
            its content is not what the repository states.
        MissingPackageError: the extra ``hub`` is not installed.
    """
    # A command reads a model several times: asked once, it is the same revision each time.
    return _fetch(parse_name(model), endpoint(), os.environ.get("HF_HUB_CACHE"))


@functools.cache
def _fetch(model: HubModel, address: str | None, _cache: str | None) -> Path:
    file = _download(model, MODEL, address)
    if file is None:
        raise _absence_error(model, f"a repository without {MODEL}")
    digests = _download(model, DIGESTS, address)
    verify(model, file, None if digests is None else digests.read_text(encoding="utf-8"))
    return file


def verify(model: object, file: Path, digests: str | None) -> None:
    """Compare a fetched file with the digests that its repository states.

    Args:
        model: for messages.
        file: in the cache of the client, which names large files by their SHA-256.
        digests: text of SHA256SUMS, if the repository has one.

    Raises:
        CheckpointError: a digest differs.
    """
    stated = {DIGESTS: _find_digest(digests or "", MODEL), "the hub": file.resolve().name}
    known = {who: digest for who, digest in stated.items() if digest and _SHA256.fullmatch(digest)}
    if not known:
        # The model file carries checksums of its own, which are compared when it is read.
        return
    with file.open("rb") as handle:
        actual = hashlib.file_digest(handle, "sha256").hexdigest()
    for who, digest in known.items():
        if digest != actual:
            raise CheckpointError(
                message(
                    model,
                    expected=f"{MODEL} with the SHA-256 {digest} that {who} states",
                    found=f"{actual} ({file})",
                    do="Delete this file and fetch it again. If the digests still differ, do not "
                    "use the model, and tell its owner.",
                )
            )


def _find_digest(digests: str, name: str) -> str | None:
    """The digest of a file in the text of ``sha256sum``."""
    for line in digests.splitlines():
        digest, _, file = line.partition(" ")
        if file.strip().removeprefix("*") == name:
            return digest.lower()
    return None


def _download(model: HubModel, name: str, address: str | None) -> Path | None:
    """One file of a repository; None: the repository has no such file."""
    client, errors = import_client()
    where = {"revision": model.revision, "endpoint": address}
    try:
        # Asked for on its own, because the download below retries for half a minute.
        url = client.hf_hub_url(model.repository, name, **where)
        client.get_hf_file_metadata(url, timeout=_PATIENCE)
        return Path(client.hf_hub_download(model.repository, name, **where))
    except errors.EntryNotFoundError:
        return None
    except errors.HFValidationError as error:
        raise _absence_error(model, str(error)) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise _absence_error(model, _reason(error)) from error
    except (errors.HTTPError, OSError) as error:
        return _find_cached(model, name, error)


def _find_cached(model: HubModel, name: str, error: Exception) -> Path | None:
    """A file that was fetched earlier, while the hub does not answer."""
    client, errors = import_client()
    try:
        found = client.hf_hub_download(
            model.repository, name, revision=model.revision, local_files_only=True
        )
    except errors.LocalEntryNotFoundError:
        if name == MODEL:
            raise _unreachable(model, error) from error
        # Digests that were never fetched are those of a repository without.
        return None
    return Path(found)


def import_client() -> tuple[Any, Any]:
    """The client of the hub, and its errors.

    Raises:
        MissingPackageError: the extra ``hub`` is not installed.
    """
    from unmask.lookup import optional_import

    client = optional_import("huggingface_hub", "hub")
    return client, optional_import("huggingface_hub.errors", "hub")


def _reason(error: BaseException) -> str:
    from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return "a repository whose owner grants access one by one"
    if isinstance(error, RevisionNotFoundError):
        return "no such revision"
    return "no such repository, or one that your account may not read"


def _absence_error(model: HubModel, found: str) -> CheckpointError:
    return CheckpointError(
        message(
            model,
            expected=f"a repository on the hub with {MODEL}, as `unmask share` writes it",
            found=found,
            do="Check owner, name and revision. For a private one, log in with `hf auth login`.",
        )
    )


def _unreachable(model: HubModel, error: BaseException) -> CheckpointError:
    cause = error.__cause__ or error
    return CheckpointError(
        message(
            model,
            expected="a connection to the hub, or the model in the cache",
            found=f"neither ({type(cause).__name__}: {str(cause)[:120]})",
            do="Connect once to fetch the model. Without a network, copy its file and give the "
            "path: --model path/to/model.safetensors.",
        )
    )
