"""Codes with other names: every method, file and graph knows them by these."""

from __future__ import annotations

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from conftest import small

from sk_rqvae import RQVAEModule, RQVAETransformer
from sk_rqvae.index import SemanticIDIndex


def with_new_names(codes, maps):
    columns = [names[column] for names, column in zip(maps, codes.T, strict=False)]
    return np.stack(columns, axis=1)


@pytest.fixture(scope="module")
def maps(fitted):
    rng = np.random.default_rng(3)
    return [rng.permutation(len(codebook)) for codebook in fitted.codebooks_]


@pytest.fixture(scope="module")
def renamed(fitted, maps):
    return fitted.rename_codes(maps)


def test_every_method_knows_codes_by_their_names(fitted, renamed, maps, blobs):
    codes = fitted.transform(blobs)
    names = renamed.transform(blobs)
    assert np.array_equal(names, with_new_names(codes, maps))
    for depth in (1, 3):
        assert np.array_equal(
            renamed.inverse_transform(names[:, :depth]),
            fitted.inverse_transform(codes[:, :depth]),
        )
    candidates, errors = fitted.candidates(blobs, k=4)
    new_candidates, new_errors = renamed.candidates(blobs, k=4)
    expected = with_new_names(candidates.reshape(-1, 3), maps)
    assert np.array_equal(new_candidates.reshape(-1, 3), expected)
    assert np.array_equal(new_errors, errors)
    assert renamed.score(blobs) == fitted.score(blobs)
    assert str(renamed.report(blobs)) == str(fitted.report(blobs))


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_distances_and_vectors_are_in_the_order_of_the_names(
    fitted, renamed, maps, blobs, depth
):
    codes, names = fitted.transform(blobs), renamed.transform(blobs)
    distances = fitted.next_code_distances(blobs, codes[:, :depth])
    found = renamed.next_code_distances(blobs, names[:, :depth])
    assert np.array_equal(found[:, maps[depth]], distances)
    vectors = renamed.codebooks_[depth][maps[depth]]
    assert np.array_equal(vectors, fitted.codebooks_[depth])


def test_a_model_is_not_changed_by_its_renamed_copy(fitted, maps, blobs):
    model = copy.deepcopy(fitted)
    codes = model.transform(blobs)
    model.rename_codes(maps)
    assert np.array_equal(model.transform(blobs), codes)
    assert np.array_equal(model.codebooks_, fitted.codebooks_)


def test_names_can_be_changed_again_and_back(fitted, renamed, maps, blobs):
    twice = renamed.rename_codes(maps)
    names = with_new_names(renamed.transform(blobs), maps)
    assert np.array_equal(twice.transform(blobs), names)
    back = renamed.rename_codes([np.argsort(level) for level in maps])
    assert np.array_equal(back.transform(blobs), fitted.transform(blobs))
    assert np.array_equal(back.codebooks_, fitted.codebooks_)


def test_copies_and_files_keep_the_names(renamed, blobs, tmp_path):
    joblib.dump(renamed, tmp_path / "model.joblib")
    renamed.save_pretrained(tmp_path / "folder")
    renamed.net_.save_params(f_params=str(tmp_path / "weights.pt"))
    for model in (
        pickle.loads(pickle.dumps(renamed)),
        joblib.load(tmp_path / "model.joblib"),
        RQVAETransformer.from_pretrained(tmp_path / "folder"),
        RQVAETransformer.load_from_checkpoint(tmp_path / "weights.pt"),
    ):
        assert np.array_equal(model.transform(blobs), renamed.transform(blobs))
        assert np.array_equal(model.codebooks_, renamed.codebooks_)


def test_training_on_keeps_the_names_and_training_anew_does_not(fitted, maps, blobs):
    def trained(model, **settings):
        return copy.deepcopy(model).set_params(**settings).fit(blobs)

    renamed = fitted.rename_codes(maps)
    codes = trained(fitted, warm_start=True).transform(blobs)
    names = trained(renamed, warm_start=True).transform(blobs)
    assert np.array_equal(names, with_new_names(codes, maps))
    anew = trained(renamed, warm_start=False)
    assert np.array_equal(anew.transform(blobs), fitted.transform(blobs))


def test_prices_are_those_of_the_ids_whatever_their_names(blobs):
    model = RQVAETransformer(
        n_layers=2,
        codebook_size=24,
        hidden_dims=(32,),
        max_epochs=3,
        separate_ids=True,
        random_state=0,
    ).fit(blobs)
    assert len(model.net_.module_.prices)
    maps = [np.roll(np.arange(24), 5)] * 2
    names = model.rename_codes(maps).transform(blobs)
    assert np.array_equal(names, with_new_names(model.transform(blobs), maps))


@pytest.mark.slow
def test_a_graph_knows_codes_by_their_names(renamed, maps, blobs, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    names = renamed.transform(blobs)
    found = []
    for name, rows in (("codes", blobs), ("rows", names)):
        path = tmp_path / f"{name}.onnx"
        renamed.to_onnx(path, decoder=name == "rows")
        session = onnxruntime.InferenceSession(path)
        (source,) = session.get_inputs()
        found += session.run([name], {source.name: rows})
    assert (found[0] == names).all(axis=1).mean() > 0.99
    np.testing.assert_allclose(found[1], renamed.inverse_transform(names), rtol=1e-3)


def test_an_index_tells_a_renamed_model_from_the_one_it_was_made_of(
    fitted, renamed, blobs, tmp_path
):
    names = renamed.transform(blobs)
    index = SemanticIDIndex().fit(names[:20], model=renamed)
    with pytest.raises(ValueError, match="model must be the one"):
        index.add(fitted.transform(blobs[20:]), model=fitted)
    renamed.save_pretrained(tmp_path)
    loaded = RQVAETransformer.from_pretrained(tmp_path)
    assert len(index.add(names[20:], model=loaded)) == len(blobs) - 20


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda maps: maps[:2], ValueError, "permutation of the codes of each"),
        (lambda maps: [*maps[:2], maps[2] * 0], ValueError, "no code with the name 1"),
        (lambda maps: [*maps[:2], maps[2][:-1]], ValueError, r"Got sizes \[16, 16, 15"),
        (lambda maps: [*maps[:2], maps[2] - 1], ValueError, "must not be negative"),
        (lambda maps: [*maps[:2], maps[2] / 2], ValueError, "whole numbers"),
        (lambda maps: [*maps[:2], ["a"] * 16], TypeError, "whole numbers"),
        (lambda maps: None, TypeError, "code_maps must be a sequence"),
        (lambda maps: [[[0, 1]] * 8] * 3, ValueError, "1-D arrays, one for each level"),
        (lambda maps: [[0, [1]]] * 3, ValueError, "code_maps must have arrays"),
    ],
)
def test_names_that_are_no_permutation_are_refused(
    fitted, maps, change, error, message
):
    with pytest.raises(error, match=message):
        fitted.rename_codes(change(maps))


def test_a_file_in_which_codes_share_a_name_is_refused(renamed, tmp_path):
    names = renamed.net_.module_.code_names
    forged = [names[:-1], names.roll(1), torch.zeros_like(names)]
    for values in forged:
        model = copy.deepcopy(renamed)
        model.net_.module_.code_names = values
        model.net_.save_params(f_params=str(tmp_path / "weights.pt"))
        with pytest.raises(ValueError, match="code_names do not name each code"):
            RQVAETransformer.load_from_checkpoint(tmp_path / "weights.pt")


def test_weights_from_before_there_were_names_can_be_read(
    fitted, renamed, blobs, tmp_path
):
    path = tmp_path / "weights.pt"
    weights = fitted.net_.module_.state_dict()
    for name in ("code_names", "quantizer.idle_rows"):
        del weights[name]
    torch.save(weights, path)
    loaded = RQVAETransformer.load_from_checkpoint(path)
    other = copy.deepcopy(renamed)
    other.net_.load_params(f_params=str(path))
    for model in (loaded, other):
        assert np.array_equal(model.transform(blobs), fitted.transform(blobs))


def test_names_that_are_the_first_ones_again_make_the_first_model_again(
    fitted, renamed, maps, blobs
):
    index = SemanticIDIndex(policy="none").fit(fitted.transform(blobs), model=fitted)
    same = fitted.rename_codes([np.arange(16)] * 3)
    back = renamed.rename_codes([np.argsort(level) for level in maps])
    for model in (same, back):
        index.add(model.transform(blobs[:1]), model=model)


def test_a_renamed_model_that_was_made_in_inference_mode_can_load_weights(
    fitted, maps, tmp_path
):
    fitted.net_.save_params(f_params=str(tmp_path / "weights.pt"))
    with torch.inference_mode():
        model = fitted.rename_codes(maps)
    model.net_.load_params(f_params=str(tmp_path / "weights.pt"))


def test_a_module_of_a_user_may_have_names(blobs):
    class Named(RQVAEModule):
        names = ("a", "b")

    model = small(module=Named).fit(blobs)
    renamed = model.rename_codes([np.arange(16)[::-1]] * 3)
    assert np.array_equal(renamed.transform(blobs), 15 - model.transform(blobs))
