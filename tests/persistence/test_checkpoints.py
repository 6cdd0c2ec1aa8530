from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import small
from skorch.callbacks import Checkpoint
from torch import nn
from torch.nn import functional as F

from sk_rqvae import RQVAEModule, RQVAETransformer

N_FEATURES = 10
ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU}


class MLP(nn.Module):
    def __init__(self, widths, activation, dropout):
        super().__init__()
        layers = []
        for n_in, n_out in pairwise(widths):
            layers.append(nn.Linear(n_in, n_out, bias=False))
            if len(layers) < (2 + dropout) * (len(widths) - 2):
                layers.append(activation())
                layers += [nn.Dropout(0.1)] * dropout
        self.mlp = nn.Sequential(*layers, nn.Identity())


class Level(nn.Module):
    def __init__(self, size, dim, sim_vq):
        super().__init__()
        self.embedding = nn.Embedding(size, dim)
        linear = nn.Linear(dim, dim, bias=False) if sim_vq else nn.Identity()
        self.out_proj = nn.Sequential(linear, nn.Identity())


class Reference(nn.Module):
    """A model with the tensors and the IDs of those projects' models."""

    def __init__(
        self,
        *,
        hidden_dims=(24, 16),
        sizes=(32, 32, 32),
        activation="relu",
        sim_vq=False,
        normalize=False,
        dropout=False,
    ):
        super().__init__()
        dim = 6
        kind = ACTIVATIONS[activation]
        self.layers = nn.ModuleList(Level(size, dim, sim_vq) for size in sizes)
        widths = (N_FEATURES, *hidden_dims, dim)
        self.encoder = MLP(widths, kind, dropout)
        self.decoder = MLP(widths[::-1], kind, dropout)
        self.normalize = normalize

    @torch.no_grad()
    def ids(self, X):
        residual = self.encoder.mlp(torch.from_numpy(X))
        if self.normalize:
            residual = F.normalize(residual, dim=-1)
        codes = []
        for index, level in enumerate(self.layers):
            codebook = level.out_proj(level.embedding.weight)
            if self.normalize and index == 0:
                codebook = F.normalize(codebook, dim=-1)
            distances = torch.cdist(residual.double(), codebook.double()).square()
            code = distances.argmin(1)
            residual = residual - codebook[code]
            codes.append(code)
        return torch.stack(codes, dim=1).numpy()

    @torch.no_grad()
    def decoded(self, ids):
        total = 0
        for index, level in enumerate(self.layers):
            codebook = level.out_proj(level.embedding.weight)
            if self.normalize and index == 0:
                codebook = F.normalize(codebook, dim=-1)
            total = total + codebook[torch.from_numpy(ids[:, index])]
        return self.decoder.mlp(total).numpy()


def reference(**options):
    torch.manual_seed(0)
    model = Reference(**options).eval()
    with torch.no_grad():
        for level in model.layers:
            level.embedding.weight.mul_(0.1)
    return model


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(2000, N_FEATURES)).astype(np.float32)


@pytest.fixture
def checkpoint(tmp_path):
    """Write a checkpoint with all entries that those projects write."""

    def write(model, **extras):
        path = tmp_path / "checkpoint_399999.pt"
        torch.save({"iter": 399999, "model": model.state_dict(), **extras}, path)
        return path

    return write


def load(path, *arguments, **options):
    return RQVAETransformer.load_from_checkpoint(
        path, *arguments, **({"device": "cpu"} | options)
    )


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, {}),
        ({"activation": "silu"}, {"activation": "silu"}),
        ({"sim_vq": True}, {}),
        ({"normalize": True}, {"codebook_normalize": True}),
        ({"normalize": True, "sim_vq": True}, {"codebook_normalize": True}),
        ({"hidden_dims": ()}, {}),
        ({"sizes": (16, 8)}, {}),
        ({"sizes": (2,) * 11}, {}),
        ({"dropout": True}, {}),
    ],
)
def test_a_checkpoint_gives_the_ids_of_its_model(rows, checkpoint, options, parameters):
    model = reference(**options)
    loaded = load(checkpoint(model), **parameters)
    ids = model.ids(rows)
    assert len(np.unique(ids, axis=0)) > 10
    np.testing.assert_array_equal(loaded.transform(rows), ids)
    np.testing.assert_allclose(
        loaded.inverse_transform(ids), model.decoded(ids), atol=1e-5
    )


def test_near_ties_are_broken_as_in_the_model_of_the_checkpoint(checkpoint):
    """A float32 sum of 2**24 and 1/4 is 2**24, so there the first two codes tie."""
    model = reference(hidden_dims=(), sizes=(4, 4))
    codebook = torch.tensor(
        [[0.0, 1.0], [0.0, 0.5], [0.0, 64.0], [-64.0, 0.0]], dtype=torch.float32
    )
    with torch.no_grad():
        model.encoder.mlp[0].weight.copy_(torch.eye(6, N_FEATURES))
        for level in model.layers:
            level.embedding.weight.zero_()[:, :2] = codebook
    rows = np.zeros((3, N_FEATURES), dtype=np.float32)
    rows[:, 0] = 4096, 16, 4096
    there = [[0, 1], [1, 1], [0, 1]]
    assert model.ids(rows).tolist() != there  # in float64 nothing ties
    path = checkpoint(model)
    assert load(path).transform(rows).tolist() == there
    assert load(path, max_epochs=1).transform(rows[::-1]).tolist() == there[::-1]


def test_sizes_are_read_from_the_shapes(checkpoint):
    loaded = load(checkpoint(reference(sizes=(16, 8), sim_vq=True)))
    assert loaded.n_layers == 2
    assert loaded.codebook_size == [16, 8]
    assert loaded.embed_dim == 6
    assert loaded.hidden_dims == (24, 16)
    assert loaded.codebook_sim_vq is True
    assert loaded.n_features_in_ == N_FEATURES
    assert [codebook.shape for codebook in loaded.codebooks_] == [(16, 6), (8, 6)]
    assert loaded.n_iter_ == 0


def test_the_activation_can_be_given_by_position(rows, checkpoint):
    model = reference(activation="silu")
    loaded = load(checkpoint(model), "silu")
    np.testing.assert_array_equal(loaded.transform(rows), model.ids(rows))


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_bare_state_dict_is_read_whatever_wrapped_the_model(rows, tmp_path, prefix):
    model = reference()
    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save(state, tmp_path / "weights.pt")
    loaded = load(tmp_path / "weights.pt")
    np.testing.assert_array_equal(loaded.transform(rows), model.ids(rows))


def test_safetensors_are_read_too(rows, tmp_path):
    pytest.importorskip("safetensors", reason="needs safetensors")
    from safetensors.torch import save_file

    model = reference()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.transform(rows), model.ids(rows))
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        load(tmp_path / "model.safetensors")


def test_more_beams_find_ids_that_are_no_farther(rows, checkpoint):
    path = checkpoint(reference())
    greedy, wide = load(path), load(path, n_beams=8)
    latents = greedy.net_.module_.encode(torch.from_numpy(rows)).detach().numpy()

    def errors(model):
        codes = model.transform(rows).T
        pairs = zip(codes, model.codebooks_, strict=True)
        sums = sum(codebook[code] for code, codebook in pairs)
        return np.square(latents - sums).sum(1)

    assert errors(wide).mean() < errors(greedy).mean()


def test_training_continues_from_a_checkpoint_of_another_project(rows, checkpoint):
    path = checkpoint(reference())
    before = load(path)
    model = load(path, warm_start=True, max_epochs=3, random_state=0).fit(rows)
    assert model.n_iter_ == 3
    assert model.score(rows) > before.score(rows)
    state = model.net_.module_.state_dict()
    assert not any(name.endswith("bias") for name in state)
    assert torch.equal(state["input_mean"], torch.zeros(N_FEATURES).double())
    assert load(path).partial_fit(rows).n_iter_ == 1


def test_a_loaded_checkpoint_can_be_saved_pretrained(rows, checkpoint, tmp_path):
    pytest.importorskip("safetensors", reason="save_pretrained needs safetensors")
    model = load(checkpoint(reference(normalize=True)), codebook_normalize=True)
    model.save_pretrained(tmp_path / "model")
    reloaded = RQVAETransformer.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(reloaded.transform(rows), model.transform(rows))


# Our own checkpoints


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"codebook_normalize": True, "codebook_size": [16, 8, 4]},
        {"codebook_sim_vq": True, "embed_dim": 5, "hidden_dims": (20, 9)},
        {"linear_path": False, "n_layers": 1, "activation": "gelu"},
    ],
)
def test_what_skorch_saves_of_our_net_is_read(blobs, tmp_path, changes):
    model = small(max_epochs=2, **changes).fit(blobs)
    model.net_.save_params(f_params=tmp_path / "params.pt")
    given = {"activation": changes.get("activation", "relu"), "max_epochs": 2}
    loaded = load(tmp_path / "params.pt", **given)
    np.testing.assert_array_equal(loaded.transform(blobs), model.transform(blobs))
    codes = model.transform(blobs)
    np.testing.assert_array_equal(
        loaded.inverse_transform(codes), model.inverse_transform(codes)
    )


def test_a_net_loads_the_parameters_of_a_net_with_another_price_list(blobs, tmp_path):
    priced = small(codebook_size=4, separate_ids=True).fit(blobs)
    other = small(codebook_size=4, separate_ids=False, random_state=1).fit(blobs)
    n_prices = [len(model.net_.module_.prices) for model in (priced, other)]
    assert n_prices[0] > n_prices[1] == 0
    priced.net_.save_params(f_params=tmp_path / "priced.pt")
    other.net_.save_params(f_params=tmp_path / "other.pt")
    expected = other.transform(blobs)
    other.net_.load_params(f_params=tmp_path / "priced.pt")
    np.testing.assert_array_equal(other.transform(blobs), priced.transform(blobs))
    other.net_.load_params(f_params=tmp_path / "other.pt")
    np.testing.assert_array_equal(other.transform(blobs), expected)


def test_training_continues_from_a_checkpoint_of_skorch(blobs, tmp_path):
    saved = Checkpoint(
        monitor=None, dirname=tmp_path, f_params="{last_epoch[epoch]}.pt"
    )
    small(max_epochs=3, callbacks=[saved]).fit(blobs)
    loaded = load(
        tmp_path / "2.pt", warm_start=True, max_epochs=4, lr=1e-4, random_state=0
    )
    before = loaded.score(blobs)
    assert before > 0.5
    assert loaded.fit(blobs).n_iter_ == 4
    assert loaded.score(blobs) > before - 0.05


def test_a_users_module_is_passed(blobs, tmp_path):
    class Doubled(RQVAEModule):
        def encode(self, x):
            return 2 * super().encode(x)

    model = small(max_epochs=1, module=Doubled).fit(blobs)
    model.net_.save_params(f_params=tmp_path / "params.pt")
    loaded = load(tmp_path / "params.pt", module=Doubled)
    np.testing.assert_array_equal(loaded.transform(blobs), model.transform(blobs))


# Files that cannot be read


class Opened:
    """Something that is not a tensor, as the model in a file's `model_config` is."""


def test_a_file_that_needs_code_says_how_to_rewrite_it(checkpoint):
    path = checkpoint(reference(), model_config={"self": Opened()})
    with pytest.raises(ValueError, match=r"would run code.*torch\.save\(\{'model'"):
        load(path)


def test_the_advice_for_such_a_file_works(rows, checkpoint, tmp_path):
    model = reference()
    path = checkpoint(model, model_config={"self": Opened()})
    state = torch.load(path, map_location="cpu", weights_only=False)
    torch.save({"model": state["model"]}, tmp_path / "rewritten.pt")
    loaded = load(tmp_path / "rewritten.pt")
    np.testing.assert_array_equal(loaded.transform(rows), model.ids(rows))


def test_no_code_of_a_file_is_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"model": reference().state_dict(), "x": Payload()}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="would run code"):
        load(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match="not a file that"):
        load(tmp_path / "b.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(checkpoint, kept):
    path = checkpoint(reference())
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"checkpoint_399999\.pt is truncated"):
        load(path)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        load(tmp_path / "none.pt")


def with_changes(changes):
    state = reference().state_dict()
    for name, value in changes.items():
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "must hold a state dict.*Got list"),
        ({}, "must hold a state dict"),
        ({"model": {"a": 1}}, "must hold a state dict.*Got int under 'a'"),
        ({"rq.weight": torch.zeros(2)}, r"has another layout.*rq\.weight"),
        (with_changes({"encoder.mlp.0.bias": torch.zeros(24)}), "'encoder.mlp.0.bias'"),
        (with_changes({"encoder.mlp.0.weight": torch.zeros(3)}), "must have two axes"),
        (with_changes({"encoder.mlp.2.weight": torch.zeros(16, 9)}), "of shape"),
        (with_changes({"decoder.mlp.4.weight": None}), "of shape|lacks the tensor"),
        (
            with_changes({"layers.1.embedding.weight": None}),
            r"lacks the tensor 'layers\.1\.embedding\.weight'",
        ),
        (
            with_changes({"layers.1.embedding.weight": torch.zeros(32, 5)}),
            r"'layers\.1\.embedding\.weight'.*of shape",
        ),
        (
            with_changes({"layers.1.embedding.weight": torch.zeros(32)}),
            r"'layers\.1\.embedding\.weight' must have two axes",
        ),
        (
            with_changes({"layers.1.embedding.weight": torch.zeros(32, 6).half()}),
            r"'layers\.1\.embedding\.weight'.*float16",
        ),
        (
            with_changes({"layers.0.out_proj.0.weight": torch.zeros(6, 6)}),
            r"lacks the tensor 'layers\.1\.out_proj\.0\.weight'",
        ),
        (
            with_changes(
                {"decoder.mlp.4.weight": None, "decoder.mlp.6.weight": torch.ones(10)}
            ),
            r"'decoder\.mlp\.6\.weight' must have two axes",
        ),
        (
            with_changes(
                {
                    "decoder.mlp.4.weight": None,
                    "decoder.mlp.6.weight": torch.ones(10, 9),
                }
            ),
            r"'decoder\.mlp\.6\.weight' .*of shape",
        ),
        (
            with_changes({"layers.1.out_proj.0.weight": torch.zeros(6, 6)}),
            "which the model has not",
        ),
    ],
)
def test_a_checkpoint_of_another_layout_says_what_differs(tmp_path, content, reason):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=rf"other\.pt.*{reason}"):
        load(tmp_path / "other.pt")


def test_a_missing_level_of_our_own_net_is_named(blobs, tmp_path):
    model = small(max_epochs=1).fit(blobs)
    state = model.net_.module_.state_dict()
    del state["quantizer.levels.1.table"]
    torch.save(state, tmp_path / "params.pt")
    with pytest.raises(ValueError, match=r"lacks the tensor 'quantizer\.levels\.1\."):
        load(tmp_path / "params.pt")


def test_parameters_that_follow_from_the_shapes_are_not_accepted(checkpoint):
    with pytest.raises(TypeError, match="hidden_dims is read from the shapes"):
        load(checkpoint(reference()), hidden_dims=(8,))


def test_unknown_parameters_and_activations_are_refused(checkpoint):
    path = checkpoint(reference())
    with pytest.raises(TypeError, match="beams"):
        load(path, beams=3)
    with pytest.raises(ValueError, match="activation must be one of"):
        load(path, activation="swish")
