from __future__ import annotations

import hashlib
import json
import os
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import contents, small
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback

from sk_rqvae import QuantizeForwardMode, RQVAEModule, RQVAETransformer
from sk_rqvae._persistence import folder as folder_module

pytest.importorskip("safetensors", reason="save_pretrained needs safetensors")

from forged_models import (
    forge_config,
    forge_weights,
    replace_weights,
    weights_file,
)
from safetensors.numpy import load_file


class DoubledModule(RQVAEModule):
    def encode(self, x):
        return 2 * super().encode(x)


@pytest.fixture
def folder(fitted, tmp_path):
    """A folder with a saved model; tests may change it."""
    fitted.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def load(folder, **options):
    return RQVAETransformer.from_pretrained(folder, **options)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"codebook_size": [16, 8, 4], "codebook_mode": ["ste", "sinkhorn", "ste"]},
        {"codebook_normalize": True, "activation": "gelu"},
        {"codebook_sim_vq": True, "embed_dim": 5, "hidden_dims": [20, 9]},
        {"linear_path": False, "n_layers": 1, "rerank": False, "n_beams": 1},
        {"early_stopping": True, "hidden_dims": ()},
    ],
)
def test_a_reloaded_model_is_the_same_to_the_last_bit(blobs, tmp_path, changes):
    model = small(max_epochs=2, **changes).fit(blobs)
    model.save_pretrained(tmp_path)
    reloaded = load(tmp_path)
    codes = model.transform(blobs)
    assert reloaded.get_params() == model.get_params()
    np.testing.assert_array_equal(reloaded.transform(blobs), codes)
    for depth in range(1, model.n_layers + 1):
        np.testing.assert_array_equal(
            reloaded.inverse_transform(codes[:, :depth]),
            model.inverse_transform(codes[:, :depth]),
        )
    for ours, theirs in zip(reloaded.codebooks_, model.codebooks_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(reloaded.codebook_gains_, model.codebook_gains_)
    before, after = model.net_.module_, reloaded.net_.module_
    assert before.state_dict().keys() == after.state_dict().keys()
    for name, tensor in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], tensor)


def test_binary_columns_come_back_as_probabilities(blobs, tmp_path):
    X = np.column_stack([blobs, blobs[:, :3] > 0])
    model = small(n_cat_features=3).fit(X)
    model.save_pretrained(tmp_path)
    codes = model.transform(X)
    np.testing.assert_array_equal(
        load(tmp_path).inverse_transform(codes), model.inverse_transform(codes)
    )


def test_history_and_column_names_are_kept(blobs, tmp_path):
    names = [f"dim {column}" for column in range(blobs.shape[1])]
    frame = pd.DataFrame(blobs, columns=names)
    model = small().fit(frame)
    model.save_pretrained(tmp_path)
    reloaded = load(tmp_path)
    assert reloaded.net_.history == model.net_.history
    assert reloaded.n_iter_ == model.n_iter_
    assert list(reloaded.feature_names_in_) == names
    assert reloaded.n_features_in_ == blobs.shape[1]
    with pytest.raises(ValueError, match="feature names"):
        reloaded.transform(frame[names[::-1]])
    assert not hasattr(load_saved_without_names(blobs, tmp_path), "feature_names_in_")


def load_saved_without_names(blobs, tmp_path):
    small(max_epochs=1).fit(blobs).save_pretrained(tmp_path)
    return load(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_dims", (32,)),
        ("hidden_dims", [32]),
        ("codebook_mode", QuantizeForwardMode.STE),
        ("codebook_size", np.int64(16)),
        ("lr", np.float32(0.1)),
        ("device", torch.device("cpu")),
        ("verbose", True),
    ],
)
def test_parameters_keep_their_types_where_json_has_none(blobs, tmp_path, name, value):
    model = small(max_epochs=1, **{name: value} | {"verbose": 0}).fit(blobs[:60])
    model.set_params(**{name: value})
    model.save_pretrained(tmp_path)
    reloaded = load(tmp_path).get_params()[name]
    assert reloaded == value
    if isinstance(value, tuple | list | torch.device | bool):
        assert type(reloaded) is type(value)


def test_a_saved_random_state_continues_where_it_was(blobs, tmp_path):
    model = small(max_epochs=1, random_state=np.random.RandomState(3)).fit(blobs)
    model.save_pretrained(tmp_path)
    reloaded = load(tmp_path)
    assert reloaded.random_state.randint(2**31, size=5).tolist() == (
        model.random_state.randint(2**31, size=5).tolist()
    )


def test_parameters_set_after_fit_are_kept_beside_those_of_the_model(blobs, tmp_path):
    model = small(n_beams=1, rerank=False).fit(blobs)
    codes = model.transform(blobs)
    model.set_params(n_beams=4, codebook_size=99, n_layers=7, hidden_dims=(3,))
    model.save_pretrained(tmp_path)
    reloaded = load(tmp_path)
    assert reloaded.get_params() == model.get_params()
    np.testing.assert_array_equal(reloaded.transform(blobs), codes)


def test_training_continues_as_from_the_original(blobs, tmp_path):
    model = small(warm_start=True).fit(blobs)
    model.save_pretrained(tmp_path)
    reloaded = load(tmp_path)
    np.testing.assert_array_equal(
        reloaded.fit(blobs).transform(blobs), model.fit(blobs).transform(blobs)
    )
    assert reloaded.n_iter_ == 10
    assert reloaded.partial_fit(blobs).n_iter_ == 11


def test_codes_that_were_idle_when_a_model_was_saved_restart_as_in_the_model(
    blobs, tmp_path
):
    few = blobs[:8]  # which leave codes without rows
    model = small(n_layers=1, warm_start=True, max_epochs=1).fit(blobs).partial_fit(few)
    idle = model.net_.module_.quantizer.idle_rows
    assert idle.any()
    idle.mul_(1000)  # as after many such calls
    model.save_pretrained(tmp_path / "folder")
    model.net_.save_params(f_params=str(tmp_path / "weights.pt"))
    checkpoint = RQVAETransformer.load_from_checkpoint(tmp_path / "weights.pt")
    assert torch.equal(checkpoint.net_.module_.quantizer.idle_rows, idle)
    reloaded = load(tmp_path / "folder").fit(few)
    model.fit(few)
    assert sum(model.net_.history[-1]["restarts"])
    np.testing.assert_array_equal(reloaded.codebooks_[0], model.codebooks_[0])


def test_a_clone_of_a_reloaded_model_trains_to_the_same_model(blobs, fitted, folder):
    again = clone(load(folder)).fit(blobs)
    np.testing.assert_array_equal(again.transform(blobs), fitted.transform(blobs))


def test_a_reloaded_model_saves_to_the_same_bytes(folder, tmp_path):
    load(folder).save_pretrained(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)


def test_loading_does_not_use_the_global_generator(folder):
    before = torch.get_rng_state()
    load(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_files_are_readable_without_this_library(fitted, folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["versions"].keys() >= {"sk_rqvae", "torch", "python", "scikit-learn"}
    assert config["params"]["n_layers"] == 3
    codebooks = load_file(weights_file(folder))
    np.testing.assert_array_equal(codebooks["codebooks.0"], fitted.codebooks_[0])


def test_the_folder_holds_json_safetensors_and_markdown_alone(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        weights_file(folder).name,
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without CUDA")
def test_a_model_saved_for_cuda_loads_without(blobs, fitted, folder):
    forge_config(folder, lambda config: config["params"].update(device="cuda"))
    with pytest.warns(UserWarning, match="no CUDA"):
        reloaded = load(folder)
    assert reloaded.device == "cuda"
    np.testing.assert_array_equal(reloaded.transform(blobs), fitted.transform(blobs))
    assert load(folder, device="cpu").device == "cpu"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_can_be_loaded_onto_another_device(blobs, tmp_path):
    model = small(device="cuda").fit(blobs)
    model.save_pretrained(tmp_path)
    assert next(load(tmp_path).net_.module_.parameters()).is_cuda
    on_cpu = load(tmp_path, device="cpu")
    assert not next(on_cpu.net_.module_.parameters()).is_cuda
    same = on_cpu.transform(blobs) == model.transform(blobs)
    assert same.mean() > 0.99


# Saving to a folder that exists


def test_a_second_model_replaces_the_first(blobs, folder):
    other = small(random_state=1, n_layers=2).fit(blobs)
    other.save_pretrained(folder)
    assert len(list(folder.glob("*.safetensors"))) == 1
    np.testing.assert_array_equal(load(folder).transform(blobs), other.transform(blobs))


@pytest.mark.parametrize("n_renames", [0, 1])  # of the weights, of config.json
def test_a_save_that_is_interrupted_leaves_the_old_model(
    blobs, folder, monkeypatch, n_renames
):
    before = contents(folder)
    other = small(random_state=1, max_epochs=1).fit(blobs)
    replace = Path.replace
    done = []

    def interrupted(self, target):
        if len(done) == n_renames:
            raise KeyboardInterrupt
        done.append(target)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        other.save_pretrained(folder)
    assert contents(folder) == before


def test_weights_whose_removal_is_interrupted_are_removed_by_the_next_save(
    fitted, blobs, folder, monkeypatch
):
    (folder / "config.json").chmod(0o444)
    unlink = Path.unlink

    def interrupted(self, missing_ok=False):
        if self.suffix == ".safetensors":
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", interrupted)
        with pytest.raises(KeyboardInterrupt):
            small(random_state=1, max_epochs=1).fit(blobs).save_pretrained(folder)
    assert len(list(folder.glob("*.safetensors"))) == 2
    small(random_state=2, max_epochs=1).fit(blobs).save_pretrained(folder)
    assert len(list(folder.glob("*.safetensors"))) == 1
    assert not list(folder.glob("*.tmp"))


def test_another_programs_folder_is_not_overwritten(fitted, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ValueError, match=r"config\.json was not written by"):
        fitted.save_pretrained(tmp_path)
    assert contents(tmp_path) == {"config.json": b'{"model_type": "t5"}'}


def test_a_configuration_that_appears_while_a_save_waits_is_not_replaced(
    fitted, tmp_path, monkeypatch
):
    path = tmp_path / "model" / "config.json"

    class LateLock(folder_module.LockBeside):
        """While it waits, another program writes its own configuration."""

        def __enter__(self):
            super().__enter__()
            path.write_text('{"model_type": "t5"}')

    monkeypatch.setattr(folder_module, "LockBeside", LateLock)
    with pytest.raises(ValueError, match=r"config\.json was not written by"):
        fitted.save_pretrained(tmp_path / "model")
    assert contents(path.parent) == {"config.json": b'{"model_type": "t5"}'}


def test_weights_that_none_of_our_configurations_names_are_kept(fitted, blobs, folder):
    somebodys = folder / "model-0123456789abcdef.safetensors"
    somebodys.write_bytes(b"somebody's")
    fitted.save_pretrained(folder)
    small(random_state=1, max_epochs=1).fit(blobs[:60]).save_pretrained(folder)
    assert somebodys.read_bytes() == b"somebody's"
    assert len(list(folder.glob("*.safetensors"))) == 2


def test_weights_that_a_forged_configuration_names_are_kept(fitted, folder):
    somebodys = folder / "model-0123456789abcdef.safetensors"
    somebodys.write_bytes(b"somebody's")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["weights_sha256"] = f"{'0123456789abcdef':0<64}"
    path.write_text(json.dumps(config))
    fitted.save_pretrained(folder)
    assert somebodys.exists()


@pytest.mark.skipif(os.name != "posix", reason="is about POSIX permissions")
def test_the_files_of_a_private_model_stay_private(blobs, folder):
    for path in folder.iterdir():
        path.chmod(0o600)
    (folder / "README.md").unlink()
    small(random_state=1, max_epochs=1).fit(blobs[:60]).save_pretrained(folder)
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert modes.keys() >= {"README.md", "config.json", weights_file(folder).name}


@pytest.mark.skipif(os.name != "posix", reason="is about POSIX links")
def test_a_linked_configuration_stays_a_link(blobs, folder, tmp_path):
    (tmp_path / "real").mkdir()
    (folder / "config.json").rename(tmp_path / "real" / "config.json")
    (folder / "config.json").symlink_to(tmp_path / "real" / "config.json")
    other = small(random_state=1, max_epochs=1).fit(blobs[:60])
    other.save_pretrained(folder)
    assert (folder / "config.json").is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["config.json"]
    np.testing.assert_array_equal(load(folder).transform(blobs), other.transform(blobs))
    assert len(list(folder.glob("*.safetensors"))) == 1


def test_a_target_that_is_no_folder_is_refused(fitted, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is not a folder"):
        fitted.save_pretrained(tmp_path / "file")
    (tmp_path / "model" / "config.json").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"config\.json is a directory"):
        fitted.save_pretrained(tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == [tmp_path / "model" / "config.json"]


def test_other_files_in_the_folder_stay(fitted, folder):
    (folder / "README.md").write_text("a model")
    fitted.save_pretrained(folder)
    assert (folder / "README.md").read_text() == "a model"


def test_an_unfitted_transformer_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        small().save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_callbacks_are_not_saved_and_a_warning_says_so(blobs, tmp_path):
    model = small(callbacks=[Callback()]).fit(blobs)
    with pytest.warns(UserWarning, match="callbacks are objects and not saved"):
        model.save_pretrained(tmp_path)
    assert load(tmp_path).callbacks is None


def test_a_parameter_that_json_cannot_hold_is_named(blobs, tmp_path):
    model = small(max_epochs=1).fit(blobs)
    model.set_params(lr=Fraction(1, 1000))
    with pytest.raises(TypeError, match="lr cannot be saved without pickle"):
        model.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_parameter_that_could_not_be_loaded_is_not_saved(blobs, tmp_path):
    model = small(max_epochs=1).fit(blobs).set_params(lr=-1)
    with pytest.raises(ValueError, match="lr must be in"):
        model.save_pretrained(tmp_path)
    model.set_params(lr=1e-3, n_beams=10_001)
    with pytest.raises(ValueError, match="n_beams=10001, expected at most 10000"):
        model.save_pretrained(tmp_path)


# The module's class


@pytest.fixture(scope="module")
def doubled(blobs):
    return small(module=DoubledModule, max_epochs=1).fit(blobs)


def test_a_users_module_is_passed_to_load(blobs, doubled, tmp_path):
    doubled.save_pretrained(tmp_path)
    reloaded = load(tmp_path, module=DoubledModule)
    assert reloaded.module is DoubledModule
    np.testing.assert_array_equal(reloaded.transform(blobs), doubled.transform(blobs))


def test_a_users_module_is_never_imported(doubled, tmp_path):
    doubled.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"DoubledModule.*pass the class as module"):
        load(tmp_path)


def test_another_module_than_the_saved_one_is_refused(doubled, folder, tmp_path):
    doubled.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="module must be the class of the saved model"):
        load(tmp_path, module=RQVAEModule)
    with pytest.raises(ValueError, match="module must be the class of the saved model"):
        load(folder, module=DoubledModule)
    with pytest.raises(ValueError, match="must be a subclass of RQVAEModule"):
        load(folder, module=dict)


def test_a_module_that_was_changed_after_fit_is_not_saved(blobs, tmp_path):
    model = small(max_epochs=1).fit(blobs).set_params(module=DoubledModule)
    with pytest.raises(ValueError, match="module was changed after fit"):
        model.save_pretrained(tmp_path)


def test_a_users_module_cannot_pass_for_ours(blobs, tmp_path):
    disguised = type("RQVAEModule", (DoubledModule,), {})
    small(module=disguised, max_epochs=1).fit(blobs).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="pass the class as module"):
        load(tmp_path)


# Files that were changed


@pytest.mark.parametrize("name", ["config.json", "weights"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
def test_a_truncated_file_is_named(folder, name, kept):
    path = weights_file(folder) if name == "weights" else folder / name
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=f"{path.name}.*truncated"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "weights"])
def test_a_missing_file_is_named(folder, name):
    path = weights_file(folder) if name == "weights" else folder / name
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        load(folder)


def test_any_changed_byte_of_the_weights_is_noticed(folder):
    path = weights_file(folder)
    content = bytearray(path.read_bytes())
    for position in np.linspace(0, len(content) - 1, 25).astype(int):
        changed = content.copy()
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="is truncated or was changed"):
            load(folder)


def test_an_edited_configuration_is_refused(folder):
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"relu"', '"tanh"'))
    with pytest.raises(ValueError, match=r"config\.json was changed.*use set_params"):
        load(folder)


def test_a_reformatted_configuration_is_the_same_configuration(fitted, blobs, folder):
    path = folder / "config.json"
    text = json.dumps(json.loads(path.read_text()), indent=4)
    assert text != path.read_text()
    path.write_text(text)
    model = load(folder)
    assert model.get_params() == fitted.get_params()
    np.testing.assert_array_equal(model.transform(blobs), fitted.transform(blobs))


def test_files_of_two_models_cannot_be_mixed(blobs, folder, tmp_path):
    small(random_state=1).fit(blobs).save_pretrained(tmp_path / "other")
    shutil.copy(weights_file(tmp_path / "other"), weights_file(folder))
    with pytest.raises(ValueError, match="its checksum is not the one in"):
        load(folder)


def test_weights_of_another_shape_do_not_fit(blobs, folder, tmp_path):
    small(embed_dim=4).fit(blobs).save_pretrained(tmp_path / "other")
    other = weights_file(tmp_path / "other")
    weights_file(folder).unlink()
    shutil.copy(other, folder)
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    forge_config(folder, lambda config: config.update(weights_sha256=digest))
    with pytest.raises(ValueError, match=r"does not fit .*config\.json.*of shape"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop("module.input_mean"), "lacks the tensor"),
        (
            lambda tensors: tensors.update({"module.extra": torch.zeros(2)}),
            "which the model has not",
        ),
        (
            lambda tensors: tensors.update(
                {"module.noise_scale": torch.zeros((), dtype=torch.float64)}
            ),
            "float64 of shape",
        ),
        (
            lambda tensors: tensors.update({"codebooks.1": tensors["codebooks.1"] + 1}),
            "codebook 1 is not that of the weights",
        ),
        (lambda tensors: tensors.pop("codebooks.1"), "it has the codebooks"),
    ],
)
def test_tensors_that_are_not_the_models_are_named(folder, change, reason):
    forge_weights(folder, change)
    with pytest.raises(ValueError, match=f"safetensors does not fit .*{reason}"):
        load(folder)


def test_weights_that_are_not_safetensors_are_refused(folder):
    replace_weights(folder, b"\x80\x04K\x01.")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda config: config["params"].update(beams=5), "unknown parameter 'beams'"),
        (lambda config: config["fitted"].update(beams=5), "unknown argument 'beams'"),
        (lambda config: config["params"].update(lr="fast"), "lr must be a number"),
        (lambda config: config["fitted"].update(n_beams=0), "n_beams must be at least"),
        (lambda config: config["params"].update(lr={"pickle": "x"}), "unknown form"),
        (
            lambda config: config["params"].update(device={"torch.device": "x"}),
            "device",
        ),
        (
            lambda config: config["params"].update(random_state={"RandomState": [1]}),
            "random_state is not",
        ),
        (lambda config: config["fitted"].update(n_features=3), "n_features"),
        (lambda config: config["fitted"].pop("codebook_sizes"), "codebook_sizes"),
        (lambda config: config.update(module="os:system"), "pass the class as module"),
        (lambda config: config.update(feature_names_in=["a"]), "feature_names_in"),
        (lambda config: config.update(history=3), "no valid 'history'"),
        (lambda config: config.update(history=[3]), "no valid 'history'"),
        (lambda config: config.pop("weights_sha256"), "no valid 'weights_sha256'"),
        (lambda config: config.update(format_version=2), "newer sk_rqvae"),
        (lambda config: config.update(format="other"), "was not written by"),
    ],
)
def test_a_forged_configuration_is_refused_with_its_reason(folder, change, reason):
    forge_config(folder, change)
    with pytest.raises(ValueError, match=rf"config\.json.*{reason}"):
        load(folder)


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "..", "a" * 63 + "/", "A" * 64]
)
def test_no_path_in_the_configuration_is_followed(folder, path):
    forge_config(folder, lambda config: config.update(weights_sha256=path))
    with pytest.raises(ValueError, match="no valid 'weights_sha256'"):
        load(folder)


@pytest.mark.parametrize("content", [b"[1]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_configuration_that_is_no_object_is_refused(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        load(folder)


def test_a_parameter_that_an_older_release_did_not_have_takes_its_default(folder):
    forge_config(folder, lambda config: config["params"].pop("resident_mb"))
    assert load(folder).resident_mb == "auto"


class Transposed(RQVAEModule):
    """Has a buffer whose values do not lie in order."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.register_buffer("extra", torch.arange(12.0).view(3, 4).t())


def test_a_module_with_a_transposed_buffer_is_saved(blobs, tmp_path):
    model = small(module=Transposed, max_epochs=1).fit(blobs)
    model.save_pretrained(tmp_path)
    loaded = RQVAETransformer.from_pretrained(tmp_path, module=Transposed)
    assert torch.equal(loaded.net_.module_.extra, model.net_.module_.extra)


def test_a_device_that_no_torch_has_is_refused_with_the_file(folder):
    forge_config(folder, lambda config: config["params"].update(device="cuda:x"))
    with pytest.raises(ValueError, match=r"config\.json"):
        load(folder)


class RecordsNaN(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.history.record("odd", np.nan)


def test_a_history_with_nan_is_read_by_strict_parsers(blobs, tmp_path):
    model = small(max_epochs=1, callbacks=[RecordsNaN()]).fit(blobs)
    with pytest.warns(UserWarning, match="callbacks are objects and not saved"):
        model.save_pretrained(tmp_path)

    def refuse(constant):
        raise AssertionError(constant)

    text = (tmp_path / "config.json").read_text()
    (row,) = json.loads(text, parse_constant=refuse)["history"]
    assert row["odd"] is None
    load(tmp_path)


def test_a_model_for_a_device_that_is_not_here_can_be_saved(tmp_path):
    model = small(max_epochs=1).fit(np.random.default_rng(0).normal(size=(50, 4)))
    model.set_params(device="cuda:99").save_pretrained(tmp_path / "m")
    assert (tmp_path / "m").exists()


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_model_of_which_a_loss_was_infinite_is_saved_and_trained_again(
    blobs, tmp_path
):
    model = small(max_epochs=1, early_stopping=True, warm_start=True).fit(blobs)
    model.net_.history[-1]["valid_loss"] = np.inf
    model.save_pretrained(tmp_path / "first")
    read = load(tmp_path / "first")
    read.save_pretrained(tmp_path / "again")
    assert contents(tmp_path / "first") == contents(tmp_path / "again")
    read.fit(blobs)


def test_an_empty_folder_name_is_refused_and_writes_nothing(
    fitted, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="folder must have a name"):
        fitted.save_pretrained("")
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_another_kind_is_refused_by_name(fitted, tmp_path):
    with pytest.raises(TypeError, match="report must be a SemanticIDReport or None"):
        fitted.save_pretrained(tmp_path / "model", report=3)
    assert list(tmp_path.iterdir()) == []
