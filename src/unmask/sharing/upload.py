"""A shared model on a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.errors import RecipeError, SaveError, message
from unmask.hub import MODEL, HubModel, endpoint, import_client


def check_repository(target: HubModel, *, overwrite: bool) -> None:
    """Refuse a target that cannot be written, before any work is done.

    Raises:
        RecipeError: it names a revision, or holds a model and ``overwrite`` is False.
        MissingPackageError: the extra ``hub`` is not installed.
        SaveError: the hub cannot be reached.
    """
    if target.revision is not None:
        raise RecipeError(
            message(
                f"--to {target}",
                expected="owner and name alone",
                found=f"the revision {target.revision}",
                do=f"Give --to hf:{target.repository}.",
            )
        )
    client, errors = import_client()
    try:
        exists = client.HfApi(endpoint=endpoint()).file_exists(target.repository, MODEL)
    except (errors.HTTPError, OSError) as error:
        raise _refused(target, error) from error
    if exists and not overwrite:
        raise RecipeError(
            message(
                f"--to {target}",
                expected="a repository without a model, or none yet",
                found=f"{MODEL} in it",
                do="Choose another name, or add --overwrite, which makes a new revision.",
            )
        )


def upload(folder: Path, target: HubModel, *, public: bool) -> str:
    """Upload a shared model; the repository is made if it does not exist.

    Args:
        folder: as ``write_folder`` makes it.
        target: the repository.
        public: whether a new repository can be read by everyone; otherwise by its owner alone.

    Returns:
        Address of the new revision.

    Raises:
        SaveError: the hub refused it or could not be reached.
    """
    client, errors = import_client()
    hub: Any = client.HfApi(endpoint=endpoint())
    try:
        hub.create_repo(target.repository, private=not public, exist_ok=True)
        done = hub.upload_folder(
            repo_id=target.repository,
            folder_path=folder,
            commit_message="Share a model with unmask",
        )
    except (errors.HTTPError, OSError) as error:
        raise _refused(target, error) from error
    return str(done.commit_url)


def _refused(target: HubModel, error: BaseException) -> SaveError:
    return SaveError(
        message(
            target,
            expected="a hub that takes the model",
            found=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}"
            if str(error).strip()
            else type(error).__name__,
            do="Log in with `hf auth login` as an account that may write there, check the network, "
            "or share to a folder and upload it yourself.",
        )
    )
