"""What another process does. It starts once for these tests, as it imports torch."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys

import joblib
import numpy as np
import pytest
from conftest import assert_same_model, small, threads_of_torch

from sk_rqvae import RQVAETransformer

MODES = ["gumbel_softmax", "sinkhorn", "rotation_trick"]
# Of the other process. OpenMP's threads do not survive a fork; with one there are none.
N_THREADS = 1

SCRIPT = """
import json, os, pickle, sys, threading
from pathlib import Path

import joblib
import numpy as np
from conftest import small
from skorch.callbacks import Callback

import sk_rqvae.plotting
from sk_rqvae import RQVAETransformer

folder, modes = Path(sys.argv[1]), sys.argv[2].split()
rows = np.load(folder / "rows.npy")
found = {"imports_matplotlib": "matplotlib" in sys.modules}

def refuse(*args, **kwargs):
    raise AssertionError("unpickled")

unpickle = pickle.load, pickle.loads, pickle.Unpickler
pickle.load = pickle.loads = pickle.Unpickler = refuse
found["pretrained_epochs"] = RQVAETransformer.from_pretrained(folder / "model").n_iter_
pickle.load, pickle.loads, pickle.Unpickler = unpickle

seeded = small(codebook_mode=modes).fit(rows)
codes = seeded.transform(rows)
seeded.inverse_transform(codes)
np.save(folder / "seeded.npy", codes)
seeded.save_pretrained(folder / "seeded")
found["imports_dask"] = "dask" in sys.modules

with open(folder / "model.pickle", "rb") as file:
    pickled = pickle.load(file)
loaded = joblib.load(folder / "model.joblib")
codes = [each.transform(rows) for each in (pickled, loaded)]
back = [each.inverse_transform(codes[0]) for each in (pickled, loaded)]
np.savez(folder / "reloaded.npz", codes=codes, back=back)
found["epochs"] = loaded.partial_fit(rows).n_iter_

sys.path.insert(0, str(folder))
users = joblib.load(folder / "users.joblib")
found["users_module"] = type(users.net_.module_).__module__
np.save(folder / "users.npy", users.transform(rows))

if hasattr(os, "fork"):
    class Started(Callback):
        def on_epoch_begin(self, net, **kwargs):
            fitting.set()

    fitting = threading.Event()
    other = small(max_epochs=1000, callbacks=[Started()])
    threading.Thread(target=other.fit, args=(rows,), daemon=True).start()
    fitting.wait()
    child = os.fork()
    if child == 0:
        same = (pickled.transform(rows) == codes[0]).all()
        os._exit(0 if same else 1)
    found["child"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

print(json.dumps(found))
sys.stdout.flush()
os._exit(0)
"""


USERS_MODULE = '''
from sk_rqvae import RQVAEModule


class MyModule(RQVAEModule):
    """A module of a user."""

    def compute_loss(self, output):
        parts = super().compute_loss(output)
        return {"mine": parts["reconstruction"]}
'''


@pytest.fixture(scope="module")
def users(blobs, tmp_path_factory):
    """A model whose module is in a user's file, and the folder with that file."""
    folder = tmp_path_factory.mktemp("users")
    (folder / "users_module.py").write_text(USERS_MODULE)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder)
        from users_module import MyModule

        yield small(module=MyModule, max_epochs=1).fit(blobs), folder
        patched.delitem(sys.modules, "users_module")


@pytest.fixture(scope="module")
def folder(blobs, fitted, users, tmp_path_factory):
    """Rows and models for the other process, and what it makes of them."""
    folder = tmp_path_factory.mktemp("shared")
    np.save(folder / "rows.npy", blobs)
    (folder / "model.pickle").write_bytes(pickle.dumps(fitted))
    joblib.dump(fitted, folder / "model.joblib")
    fitted.save_pretrained(folder / "model")
    model, users_folder = users
    joblib.dump(model, folder / "users.joblib")
    shutil.copy(users_folder / "users_module.py", folder)
    return folder


@pytest.fixture(scope="module")
def found(folder, fresh_python):
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", str(N_THREADS))
        return json.loads(fresh_python(SCRIPT, folder, " ".join(MODES)))


def test_one_seed_gives_the_same_model_in_a_fresh_process(blobs, folder, found):
    with threads_of_torch(N_THREADS):
        here = small(codebook_mode=MODES).fit(blobs)
        codes = here.transform(blobs)
    assert_same_model(RQVAETransformer.from_pretrained(folder / "seeded"), here)
    np.testing.assert_array_equal(np.load(folder / "seeded.npy"), codes)


def test_dask_is_not_imported_for_arrays_in_memory(found):
    assert not found["imports_dask"]


def test_the_package_is_imported_without_matplotlib(found):
    assert not found["imports_matplotlib"]


def test_a_users_own_module_is_reloaded_in_a_fresh_process(blobs, users, folder, found):
    assert found["users_module"] == "users_module"
    codes = np.load(folder / "users.npy")
    np.testing.assert_array_equal(codes, users[0].transform(blobs))


def test_a_fresh_process_gives_the_same_ids_and_can_train_further(
    blobs, fitted, folder, found
):
    reloaded = np.load(folder / "reloaded.npz")
    codes = fitted.transform(blobs)
    for each in range(2):
        np.testing.assert_array_equal(reloaded["codes"][each], codes)
        np.testing.assert_array_equal(
            reloaded["back"][each], fitted.inverse_transform(codes)
        )
    assert found["epochs"] == fitted.n_iter_ + 1


def test_a_model_loads_in_a_process_that_cannot_unpickle(fitted, found):
    assert found["pretrained_epochs"] == fitted.n_iter_


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_forked_during_a_fit_can_use_a_model(found):
    assert found["child"] == 0


def test_an_import_that_fails_says_why(fresh_python):
    script = """
import importlib, sk_rqvae
def import_module(name):
    raise AttributeError("skorch is broken")
importlib.import_module = import_module
try:
    from sk_rqvae import RQVAETransformer
except ImportError as error:
    print(error)
"""
    said = fresh_python(script).strip()
    assert said == "sk_rqvae._transformer cannot be imported: skorch is broken"
