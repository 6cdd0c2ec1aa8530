"""A disk that becomes full leaves the old file, and nothing beside it."""

from __future__ import annotations

import os

import numpy as np
import pytest
from conftest import contents, small
from full_disk import largest_file

from sk_rqvae import RQVAETransformer, SemanticIDIndex
from sk_rqvae.cli import main
from sk_rqvae.cli.work import training_checkpoint

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits the size of files")


@pytest.fixture(scope="module")
def other(blobs):
    """A model that is not `fitted`."""
    return small(max_epochs=1, random_state=1).fit(blobs[:60])


@pytest.mark.parametrize("n_bytes", [0, 500, 2000, 5000])
def test_a_full_disk_leaves_the_old_model(fitted, other, tmp_path, n_bytes):
    fitted.save_pretrained(tmp_path)
    before = contents(tmp_path)
    with largest_file(n_bytes), pytest.raises(OSError, match=f"too large.*{tmp_path}"):
        other.save_pretrained(tmp_path)
    assert contents(tmp_path) == before


def test_a_full_disk_leaves_no_part_of_a_first_model(fitted, tmp_path):
    with largest_file(2000), pytest.raises(OSError, match="too large"):
        fitted.save_pretrained(tmp_path)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("n_bytes", [0, 500, 2000])
@pytest.mark.parametrize("write", ["save", "to_json"])
def test_a_full_disk_leaves_the_old_index(tmp_path, n_bytes, write):
    index = SemanticIDIndex().fit(np.arange(30).reshape(10, 3))
    getattr(index, write)(tmp_path / "index")
    before = contents(tmp_path)
    index.add(np.arange(3000).reshape(1000, 3))
    with largest_file(n_bytes), pytest.raises(OSError, match=r"too large.*index"):
        getattr(index, write)(tmp_path / "index")
    assert contents(tmp_path) == before
    index.remove([0])  # the index itself can be used, and saved elsewhere
    getattr(index, write)(tmp_path / "elsewhere")


@pytest.mark.parametrize("n_bytes", [0, 2000])
@pytest.mark.parametrize("kind", ["csv", "json", "npy", "npz", "parquet"])
def test_a_full_disk_leaves_the_old_ids(blobs, fitted, tmp_path, capsys, n_bytes, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    fitted.save_pretrained(tmp_path / "model")
    np.save(tmp_path / "rows.npy", blobs)
    results = tmp_path / "results"
    results.mkdir()
    path = results / f"ids.{kind}"
    command = ["transform", tmp_path / "model", tmp_path / "rows.npy", "-o", path]
    command = [*map(str, command), "--quiet", "--force", "--device=cpu"]
    path.write_text("old")
    with largest_file(n_bytes):
        assert main(command) == 1
    assert contents(results) == {path.name: b"old"}
    assert f"{path}: File too large" in capsys.readouterr().err
    assert main(command) == 0


def test_a_checkpoint_on_a_full_disk_is_warned_of_and_training_continues(
    blobs, tmp_path, capsys, monkeypatch
):
    np.save(tmp_path / "rows.npy", blobs)
    monkeypatch.setattr(training_checkpoint, "SECONDS_BETWEEN", 0)

    write = training_checkpoint.write_checkpoint

    def write_to_a_full_disk(*args):
        with largest_file(1000):
            write(*args)

    monkeypatch.setattr(training_checkpoint, "write_checkpoint", write_to_a_full_disk)
    command = ["fit", tmp_path / "rows.npy", "-o", tmp_path / "model"]
    options = ["--max-epochs=2", "--hidden-dims=4", "--codebook-size=8", "--device=cpu"]
    assert main([*map(str, command), *options]) == 0
    warnings = capsys.readouterr().err
    assert warnings.count("warning") == 1
    assert "no checkpoint" in warnings
    assert "File too large" in warnings
    assert list(tmp_path.glob(".*.tmp")) == []
    assert RQVAETransformer.from_pretrained(tmp_path / "model").n_iter_ == 2
