from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from conftest import small
from hub_server import hub_server

from sk_rqvae import RQVAETransformer

pytest.importorskip("huggingface_hub", reason="needs the extra hub")

import huggingface_hub.utils
from huggingface_hub import constants, file_download
from huggingface_hub.errors import HfHubHTTPError

REPO = "somebody/nouns"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty Hub on this machine, and an empty cache."""
    with hub_server() as hub:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE
        template = template.replace(constants.ENDPOINT, hub.url)
        for module in (constants, file_download):  # older releases read the second
            name = "HUGGINGFACE_CO_URL_TEMPLATE"
            monkeypatch.setattr(module, name, template, raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        # Older releases do not have it. Newer ones would upload by Xet.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
        monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
        monkeypatch.chdir(tmp_path)
        yield hub
        _forget_connections()


def _forget_connections():
    """Older releases keep them, and whether they are offline, for each thread."""
    getattr(huggingface_hub.utils, "reset_sessions", lambda: None)()


@pytest.fixture(scope="module")
def other(blobs):
    return small(random_state=1, n_layers=2, max_epochs=1).fit(blobs[:60])


def load(repo_id=REPO, **options):
    return RQVAETransformer.from_pretrained(repo_id, **options)


def weights_in(hub, revision="main"):
    return [name for name in hub.files(REPO, revision) if name.endswith("safetensors")]


@pytest.mark.parametrize("lfs_bytes", [0, 5000, 10**9])
def test_a_model_that_was_pushed_is_loaded_by_its_name(hub, fitted, blobs, lfs_bytes):
    hub.lfs_bytes = lfs_bytes
    url = fitted.push_to_hub(REPO)
    assert url == f"{hub.url}/{REPO}/commit/{hub.sha(REPO)}"
    assert bool(hub.large_files) == (lfs_bytes < 10**9)
    assert hub.files(REPO).keys() == {
        ".gitattributes",
        "README.md",
        "config.json",
        *weights_in(hub),
    }
    loaded = load()
    assert loaded.get_params() == fitted.get_params()
    np.testing.assert_array_equal(loaded.transform(blobs), fitted.transform(blobs))


def test_a_second_push_replaces_the_model_in_one_commit(hub, fitted, other, blobs):
    fitted.push_to_hub(REPO)
    first = weights_in(hub)
    other.push_to_hub(REPO, commit_message="Fewer levels")
    assert hub.commits[REPO][-1][0] == "Fewer levels"
    assert len(hub.commits[REPO]) == 3
    assert len(weights_in(hub)) == 1
    assert weights_in(hub) != first
    np.testing.assert_array_equal(load().transform(blobs), other.transform(blobs))


def test_a_revision_is_loaded_after_the_branch_has_changed(hub, fitted, other, blobs):
    fitted.push_to_hub(REPO)
    sha = hub.sha(REPO)
    other.push_to_hub(REPO)
    loaded = load(revision=sha)
    np.testing.assert_array_equal(loaded.transform(blobs), fitted.transform(blobs))


def test_files_of_others_in_a_repository_stay(hub, fitted, other):
    fitted.push_to_hub(REPO)
    files = hub.files(REPO)
    files["model-0123456789abcdef.safetensors"] = b"somebody's"
    files["README.md"] = b"---\n---\nMy words."
    other.push_to_hub(REPO)
    assert hub.files(REPO)["model-0123456789abcdef.safetensors"] == b"somebody's"
    assert hub.files(REPO)["README.md"] == b"---\n---\nMy words."
    assert len(weights_in(hub)) == 2


def test_a_card_with_the_report_is_pushed(hub, fitted, blobs):
    fitted.push_to_hub(REPO, report=fitted.report(blobs))
    assert b"## Report" in hub.files(REPO)["README.md"]


def test_a_repository_of_another_program_is_not_overwritten(hub, fitted):
    files = {"config.json": b'{"model_type": "t5"}', "model-1.safetensors": b"many"}
    hub.commit(REPO, "T5", files)
    with pytest.raises(ValueError, match=r"config\.json was not written by"):
        fitted.push_to_hub(REPO)
    assert len(hub.commits[REPO]) == 1


def test_nothing_but_the_configuration_of_another_program_is_downloaded(hub):
    files = {"config.json": b'{"model_type": "t5"}', "model-1.safetensors": b"many"}
    hub.commit(REPO, "T5", files)
    with pytest.raises(ValueError, match=r"config\.json was not written by"):
        load()
    downloads = {path for method, path in hub.requests if "/resolve/" in path}
    assert downloads == {f"/{REPO}/resolve/main/config.json"}


def test_a_commit_in_between_makes_the_push_fail(hub, fitted, other):
    fitted.push_to_hub(REPO)

    def meddle():
        hub.before_commit = lambda: None
        hub.commit(REPO, "in between", dict(hub.files(REPO)))

    hub.before_commit = meddle
    with pytest.raises(HfHubHTTPError, match="412"):
        other.push_to_hub(REPO)
    assert hub.commits[REPO][-1][0] == "in between"


def test_a_name_that_is_neither_folder_nor_model_is_an_error(hub):
    with pytest.raises(FileNotFoundError, match="somebody/nouns is neither a folder"):
        load()
    hub.commit(REPO, "empty", {})
    with pytest.raises(FileNotFoundError, match="somebody/nouns is neither a folder"):
        load()


def test_a_folder_comes_before_a_model_on_the_hub(hub, fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "somebody" / "nouns")
    load()
    assert hub.requests == []
    with pytest.raises(ValueError, match="revision is for models on the Hugging Face"):
        load(revision="main")


@pytest.mark.parametrize("path", ["nouns", "./nouns", "../nouns", "a/b/c", "/a/b"])
def test_paths_are_not_looked_for_on_the_hub(hub, path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load(path)
    assert hub.requests == []


def test_a_model_that_was_downloaded_is_loaded_without_the_hub(
    hub, fitted, blobs, monkeypatch
):
    fitted.push_to_hub(REPO)
    load()
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    _forget_connections()
    np.testing.assert_array_equal(load().transform(blobs), fitted.transform(blobs))
    assert hub.requests == []


def test_without_the_extra_the_message_says_how_to_install_it(fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    message = re.escape("pip install 'sk-rqvae[hub]'")
    with pytest.raises(ImportError, match=message):
        load()
    with pytest.raises(ImportError, match=message):
        fitted.push_to_hub(REPO)


def test_a_model_is_loaded_by_the_name_that_its_card_says(fitted, hub):
    fitted.push_to_hub(REPO)
    card = hub.files(REPO)["README.md"].decode()
    assert f'from_pretrained("{REPO}")' in card
