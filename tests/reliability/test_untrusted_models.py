from __future__ import annotations

import io
import os
import random
import zipfile

import numpy as np
import pytest
import torch
from conftest import small
from forged_models import forge_config, forge_weights, weights_file

from sk_rqvae import RQVAETransformer

posix = pytest.mark.skipif(os.name != "posix", reason="is about POSIX files")


@pytest.fixture
def folder(fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="module")
def state(fitted):
    return dict(fitted.net_.module_.state_dict())


def load(folder):
    return RQVAETransformer.from_pretrained(folder)


def load_checkpoint(path):
    return RQVAETransformer.load_from_checkpoint(path, device="cpu")


# Values and forms of tensors


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "name", ["module.decoder.linear.weight", "module.input_scale", "module.prices"]
)
def test_a_folder_with_weights_that_are_not_finite_is_refused(folder, name, value):
    def spoil(tensors):
        if not tensors[name].numel():
            tensors["module.price_keys"] = torch.zeros(1, dtype=torch.int64)
            tensors[name] = torch.zeros(1, dtype=torch.float64)
        tensors[name].view(-1)[0] = value

    forge_weights(folder, spoil)
    with pytest.raises(ValueError, match=r"safetensors does not fit .*not finite"):
        load(folder)


@pytest.mark.parametrize("keys", [[2, 1], [1, 1]])
def test_a_folder_with_unsorted_price_keys_is_refused(folder, keys):
    def spoil(tensors):
        tensors["module.price_keys"] = torch.tensor(keys)
        tensors["module.prices"] = torch.ones(2, dtype=torch.float64)

    forge_weights(folder, spoil)
    with pytest.raises(ValueError, match=r"safetensors .*price_keys do not increase"):
        load(folder)


def test_a_model_with_weights_that_are_not_finite_is_not_saved(blobs, tmp_path):
    model = small(max_epochs=1).fit(blobs[:60])
    with torch.no_grad():
        model.net_.module_.encoder.linear.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"encoder\.linear\.weight has values"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


NAME = "encoder.linear.weight"
FORMS = {
    "sparse_coo": lambda tensor: tensor.to_sparse(),
    "sparse_csr": lambda tensor: tensor.to_sparse_csr(),
    "meta device": lambda tensor: tensor.to("meta"),
    "quantized": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    "nested": lambda tensor: torch.nested.nested_tensor(list(tensor)),
    "repeats fewer stored values": lambda tensor: (
        tensor.mean().clone().expand_as(tensor)
    ),
    "not finite": lambda tensor: tensor / 0,
    "float16": lambda tensor: tensor.half(),
    "float64": lambda tensor: tensor.double(),
    "complex64": lambda tensor: tensor.to(torch.complex64),
    "int64": lambda tensor: tensor.long(),
    "of shape": lambda tensor: tensor[:, 1:],
    "two axes|of shape": lambda tensor: tensor.unsqueeze(0),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("reason", "change"), FORMS.items(), ids=FORMS)
def test_a_checkpoint_with_another_form_of_tensor_is_refused(
    state, tmp_path, reason, change
):
    torch.save(state | {NAME: change(state[NAME])}, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match=rf"odd\.pt .*{NAME}.*({reason})"):
        load_checkpoint(tmp_path / "odd.pt")


def test_a_checkpoint_with_views_of_tensors_is_read(blobs, fitted, state, tmp_path):
    columns = state[NAME].t().contiguous().t()
    part = torch.cat([state["input_mean"], torch.zeros(5)])[:-5]
    assert not columns.is_contiguous()
    torch.save(state | {NAME: columns, "input_mean": part}, tmp_path / "views.pt")
    loaded = load_checkpoint(tmp_path / "views.pt")
    np.testing.assert_array_equal(loaded.transform(blobs), fitted.transform(blobs))


# Sizes


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["params"].update(n_layers=10**9),
        lambda config: config["params"].update(n_beams=10**9),
        lambda config: config["fitted"].update(n_beams=10**9),
        lambda config: config["params"].update(lr=10**400),
        lambda config: config["params"].update(resident_mb=10**400),
        lambda config: config["fitted"].update(codebook_sizes=[10**12] * 3),
        lambda config: config["fitted"].update(codebook_sizes=[2] * 100_000),
        lambda config: config["fitted"].update(embed_dim=10**9),
        lambda config: config["fitted"].update(embed_dim=10**30),
        lambda config: config["fitted"].update(hidden_dims=[10**8, 10**8]),
        lambda config: config["fitted"].update(hidden_dims=[1] * 100_000),
        lambda config: config["fitted"].update(n_cat_features=10**6),
        lambda config: (
            config["fitted"].update(n_features=10**18),
            config.update(n_features_in=10**18),
        ),
        lambda config: (
            config["fitted"].update(n_features=True),
            config.update(n_features_in=True),
        ),
        lambda config: (
            config["fitted"].update(n_features=-1),
            config.update(n_features_in=-1),
        ),
    ],
)
def test_a_folder_that_describes_an_absurd_model_is_refused(folder, change):
    forge_config(folder, change)
    with pytest.raises(ValueError, match=r"config\.json"):
        load(folder)


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [100, 400, 900])
@pytest.mark.parametrize("part", ["params", "fitted"])
def test_deeply_nested_parameters_are_refused(folder, part, depth):
    name = "hidden_dims"
    forge_config(folder, lambda config: config[part].update({name: nested(depth)}))
    with pytest.raises(ValueError, match=r"config\.json"):
        load(folder)


def test_json_nested_beyond_the_parser_is_refused(folder):
    for content in (b"[" * 10**6, b'{"a":' * 10**5, b'{"format": ' + b"9" * 10**4):
        (folder / "config.json").write_bytes(content)
        with pytest.raises(ValueError, match=r"config\.json is (nested|not JSON)"):
            load(folder)


def test_a_compressed_checkpoint_is_refused(state, tmp_path):
    torch.save(state, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(ValueError, match=r"bomb\.pt would unpack to more"):
        load_checkpoint(tmp_path / "bomb.pt")


# Damage


def mutated(content, rng):
    """Change some bytes of the pickle in a checkpoint, or of the file around it."""
    if rng.random() < 0.25:
        return spoiled(content, rng)
    result = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(result, "w") as new,
    ):
        for name in old.namelist():
            member = old.read(name)
            is_pickle = name.endswith("data.pkl")
            new.writestr(name, spoiled(member, rng) if is_pickle else member)
    return result.getvalue()


def spoiled(content, rng):
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


@pytest.fixture(scope="module")
def few_tensors(blobs):
    """The state of a model with few tensors, which is read and written faster."""
    model = small(n_layers=1, hidden_dims=(), max_epochs=1).fit(blobs)
    return dict(model.net_.module_.state_dict())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n", [100, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_damaged_checkpoint_is_refused_by_name_or_still_a_model(
    few_tensors, tmp_path, n
):
    path, rng = tmp_path / "damaged.pt", random.Random(0)
    torch.save(few_tensors, path)
    content, reasons = path.read_bytes(), []
    for _ in range(n):
        path.write_bytes(mutated(content, rng))
        try:
            load_checkpoint(path)
        except ValueError as error:
            reasons.append(str(error))
    assert len(reasons) > n / 2
    assert all("damaged.pt" in reason for reason in reasons)


@posix
def test_files_that_would_block_for_ever_are_refused(folder, tmp_path):
    os.mkfifo(tmp_path / "fifo.pt")
    with pytest.raises(ValueError, match=r"fifo\.pt is a FIFO"):
        load_checkpoint(tmp_path / "fifo.pt")
    os.mkfifo(tmp_path / "fifo.safetensors")
    with pytest.raises(ValueError, match=r"fifo\.safetensors is a FIFO"):
        load_checkpoint(tmp_path / "fifo.safetensors")
    for path in (weights_file(folder), folder / "config.json"):
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(ValueError, match=f"{path.name} is a FIFO"):
            load(folder)
