"""Download of models from the Hugging Face Hub."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Any

import sk_rqvae
from sk_rqvae._persistence.config import read_config
from sk_rqvae._persistence.model_names import CONFIG_NAME
from sk_rqvae._persistence.weights import weights_name

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_INSTALL = "pip install 'sk-rqvae[hub]'"


def local_folder(folder: str | PathLike[str], revision: str | None) -> Path:
    """The folder of a model; one on the Hub is downloaded first.

    Parameters
    ----------
    folder : str or path-like
        A folder or, if there is no such folder, ``"user/name"`` of a model on the Hub.
    revision : str or None
        Branch, tag or commit on the Hub.

    Raises
    ------
    FileNotFoundError
        If there is neither such a folder nor such a model.
    ImportError
        If ``huggingface_hub`` is needed and not installed.
    ValueError
        If a revision is given for a local folder, or the model on the Hub is not one of
        ours. Its weights are not downloaded then.
    """
    path = Path(folder)
    is_local = path.exists() or not isinstance(folder, str)
    if is_local or not _REPOSITORY.fullmatch(str(folder)):
        if revision is not None:
            raise ValueError(
                "revision is for models on the Hugging Face Hub. Got "
                f"revision={revision!r} and {folder}, which is a local folder or no "
                'name such as "user/name".'
            )
        return path
    return _download(str(folder), revision)


def _download(repo_id: str, revision: str | None) -> Path:
    """Download a configuration, and then the weights that it names."""
    hub = import_hub(f"{repo_id} is not a folder here")
    api = hub_api(hub, None)
    try:
        config = Path(api.hf_hub_download(repo_id, CONFIG_NAME, revision=revision))
        digest = read_config(config)["weights_sha256"]
        # The cache has a folder for each commit: both files are of the same one.
        commit = config.parent.name
        api.hf_hub_download(repo_id, weights_name(digest), revision=commit)
    except (
        hub.errors.EntryNotFoundError,
        hub.errors.RepositoryNotFoundError,
        hub.errors.RevisionNotFoundError,
    ) as error:
        raise FileNotFoundError(
            f"{repo_id} is neither a folder nor a model of sk_rqvae on the Hugging "
            f"Face Hub: {error}"
        ) from error
    return config.parent


def hub_api(hub: Any, token: str | None) -> Any:
    """A client of the Hub."""
    return hub.HfApi(
        token=token,
        library_name="sk_rqvae",
        library_version=sk_rqvae.__version__,
    )


def import_hub(what: str) -> Any:
    """``huggingface_hub``, or an ImportError that says how to install it.

    The message begins with `what`: why it is needed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise ImportError(
            f"{what}. Models on the Hugging Face Hub need the extra hub: {_INSTALL}."
        ) from error
    return huggingface_hub
