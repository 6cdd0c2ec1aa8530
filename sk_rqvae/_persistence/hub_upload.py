"""Upload of models to the Hugging Face Hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sk_rqvae._inference.report import SemanticIDReport
from sk_rqvae._persistence.config import named_weights, read_config
from sk_rqvae._persistence.hub_download import hub_api, import_hub
from sk_rqvae._persistence.model_card import CARD_NAME
from sk_rqvae._persistence.model_names import CONFIG_NAME
from sk_rqvae._persistence.pretrained import save_pretrained
from sk_rqvae._persistence.weights import weights_name


def push_to_hub(
    estimator: Any,
    repo_id: str,
    *,
    report: SemanticIDReport | None,
    private: bool | None,
    revision: str | None,
    commit_message: str,
    token: str | None,
) -> str:
    """Upload a fitted transformer in one commit; see `RQVAETransformer`.

    The configuration and the model card of the repository are fetched, and the model is
    saved over them as over those of a folder. So the same files are refused, kept or
    removed. The commit fails if another one was made in between.
    """
    hub = import_hub(f"{repo_id} was not uploaded")
    api = hub_api(hub, token)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    parent = api.model_info(repo_id, revision=revision).sha
    with TemporaryDirectory() as name:
        folder = Path(name)
        present = set(api.list_repo_files(repo_id, revision=parent))
        for file in present & {CONFIG_NAME, CARD_NAME}:
            cached = api.hf_hub_download(repo_id, file, revision=parent)
            shutil.copyfile(cached, folder / file)
        replaced = named_weights(folder / CONFIG_NAME)
        save_pretrained(estimator, folder, report, name=repo_id)
        digest = read_config(folder / CONFIG_NAME)["weights_sha256"]
        files = [CONFIG_NAME, CARD_NAME, weights_name(digest)]
        operations: list[Any] = [
            hub.CommitOperationAdd(file, (folder / file).read_bytes()) for file in files
        ]
        if replaced is not None:
            old = weights_name(replaced)
            if old in present - set(files):
                operations.append(hub.CommitOperationDelete(old))
        commit = api.create_commit(
            repo_id,
            operations,
            commit_message=commit_message,
            revision=revision,
            parent_commit=parent,
        )
    return str(commit.commit_url)
