from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small
from sklearn.exceptions import NotFittedError

import sk_rqvae
from sk_rqvae._persistence.checkpoint_module import CheckpointModule
from sk_rqvae.datasets import load_wordnet_nouns

_NEAR = 1e-5


@pytest.fixture(scope="session")
def onnxruntime():
    pytest.importorskip("onnxscript", reason="to_onnx needs the extra onnx")
    return pytest.importorskip("onnxruntime", reason="needs the extra onnx")


@pytest.fixture(scope="session")
def session(onnxruntime):
    """Open an ONNX file on one CPU thread."""

    def open_file(path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    return open_file


@pytest.fixture(scope="module")
def nouns():
    return load_wordnet_nouns().data


@pytest.fixture(scope="module")
def trained(nouns):
    """Two levels, as the time of an export grows with their number."""
    return small(
        n_layers=2, codebook_size=128, embed_dim=32, max_epochs=2, hidden_dims=(64,)
    ).fit(nouns[:2000])


@pytest.fixture(scope="module")
def file(trained, onnxruntime, tmp_path_factory):
    """The encoder in a file. An export takes seconds, so tests share it."""
    path = tmp_path_factory.mktemp("onnx") / "encoder.onnx"
    trained.to_onnx(path)
    assert [file.name for file in path.parent.iterdir()] == ["encoder.onnx"]
    return path


@pytest.fixture(scope="module")
def encoder(file, session):
    return session(file)


def costs(model, X, codes):
    """Error of each row under its codes, plus the price of the ID if it has one."""
    from torch import from_numpy, no_grad

    from sk_rqvae._model.id_prices import id_keys, look_up

    module = model.net_.module_
    with no_grad():
        rows = module.standardize(from_numpy(X).double())
        decoded = module.reconstruct(from_numpy(codes))
        errors = module.row_losses(rows, decoded).double()
        prices = look_up(module.price_list(), id_keys(from_numpy(codes)))
    return (errors + prices).numpy()


@pytest.mark.slow
def test_onnxruntime_gives_the_codes_of_transform(trained, encoder, nouns):
    assert len(trained.net_.module_.prices) > 0
    expected = trained.transform(nouns)
    codes = encoder.run(["codes"], {"rows": nouns})[0]
    assert codes.dtype == np.int64
    differ = (codes != expected).any(axis=1)
    assert differ.mean() <= 1e-4
    ours = costs(trained, nouns[differ], expected[differ])
    theirs = costs(trained, nouns[differ], codes[differ])
    np.testing.assert_allclose(theirs, ours, rtol=_NEAR)


@pytest.mark.slow
def test_autocast_of_a_caller_does_not_reach_the_file(
    trained, encoder, session, nouns, tmp_path
):
    path = tmp_path / "model.onnx"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trained.to_onnx(path)
    rows = {"rows": nouns[:50]}
    np.testing.assert_array_equal(
        session(path).run(None, rows)[0], encoder.run(None, rows)[0]
    )


@pytest.mark.slow
@pytest.mark.parametrize("n_rows", [0, 1, 3, 257])
def test_any_number_of_rows_is_encoded(trained, encoder, nouns, n_rows):
    codes = encoder.run(None, {"rows": nouns[:n_rows]})[0]
    assert codes.shape == (n_rows, 2)
    if n_rows:
        np.testing.assert_array_equal(codes, trained.transform(nouns[:n_rows]))


@pytest.mark.slow
def test_names_and_types_say_what_goes_in_and_out(encoder):
    (rows,), (codes,) = encoder.get_inputs(), encoder.get_outputs()
    assert (rows.name, rows.type) == ("rows", "tensor(float)")
    assert rows.shape[1:] == [384]
    assert (codes.name, codes.type) == ("codes", "tensor(int64)")
    assert isinstance(rows.shape[0], str)


@pytest.mark.slow
def test_the_decoder_gives_the_rows_of_inverse_transform(blobs, session, tmp_path):
    X = np.column_stack([50 + 9 * blobs, blobs[:, :3] > 0]).astype(np.float32)
    model = small(n_layers=2, n_cat_features=3).fit(X)
    codes = model.transform(X)
    model.to_onnx(tmp_path / "decoder.onnx", decoder=True)
    graph = session(tmp_path / "decoder.onnx")
    for n_rows in (1, len(X)):
        rows = graph.run(["rows"], {"codes": codes[:n_rows]})[0]
        assert rows.dtype == np.float32
        np.testing.assert_allclose(
            rows, model.inverse_transform(codes[:n_rows]), rtol=1e-5, atol=1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"n_beams": 1, "codebook_normalize": True, "activation": "gelu"},
        {"rerank": False, "codebook_sim_vq": True, "codebook_size": [64, 16]},
        {"n_layers": 1, "linear_path": False, "hidden_dims": ()},
        {"module": CheckpointModule, "linear_path": False} | {"n_beams": 1},
        {"decoder_hidden_dims": (2560,)},
    ],
)
def test_every_kind_of_model_is_exported_and_not_changed(
    blobs, session, tmp_path, changes
):
    model = small(**{"max_epochs": 2, "n_layers": 2} | changes).fit(blobs)
    expected = model.transform(blobs)
    model.to_onnx(tmp_path / "encoder.onnx")
    codes = session(tmp_path / "encoder.onnx").run(None, {"rows": blobs})[0]
    assert (codes == expected).all(axis=1).mean() > 0.99
    np.testing.assert_array_equal(model.transform(blobs), expected)
    assert model.partial_fit(blobs).n_iter_ == 3


@pytest.mark.slow
def test_the_file_contains_no_path_of_this_machine(file):
    content = file.read_bytes()
    # Weights are random bytes: among two million, three of them often make ".py".
    assert re.search(rb"\w{4}\.py", content) is None
    assert str(Path(sk_rqvae.__file__).parent).encode() not in content


def test_an_unfitted_transformer_is_not_exported(tmp_path):
    with pytest.raises(NotFittedError):
        small().to_onnx(tmp_path / "model.onnx")


@pytest.mark.skipif(os.name != "posix", reason="is about POSIX files")
def test_a_target_that_is_not_a_file_is_refused_before_the_export(
    fitted, onnxruntime, tmp_path
):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", "/dev/null"):
        with pytest.raises(ValueError, match=f"{path} is a"):
            fitted.to_onnx(path)


def test_a_missing_extra_is_named(fitted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'sk-rqvae\[onnx\]'"):
        fitted.to_onnx(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
