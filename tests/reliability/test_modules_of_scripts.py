from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from conftest import small

from sk_rqvae import RQVAEModule


def test_a_model_with_a_module_class_of_a_script_reaches_worker_processes(blobs):
    """joblib copies such classes by cloudpickle; no import can find this one."""
    cloudpickle = pytest.importorskip("cloudpickle", reason="what joblib pickles by")

    class OfAScript(RQVAEModule):
        __module__ = "__main__"

        def encode(self, x):
            return 2 * super().encode(x)

    model = small(module=OfAScript, max_epochs=1).fit(blobs)
    there = cloudpickle.loads(cloudpickle.dumps(model))
    np.testing.assert_array_equal(there.transform(blobs), model.transform(blobs))
    back = cloudpickle.loads(cloudpickle.dumps(there.partial_fit(blobs)))
    assert back.n_iter_ == 2


SCRIPT = """
import numpy as np
from joblib import Parallel, delayed
from sk_rqvae import RQVAEModule, RQVAETransformer

class OfAScript(RQVAEModule):
    def compute_loss(self, output):
        return {"mine": super().compute_loss(output)["reconstruction"]}

def fit(seed, X):
    rq = RQVAETransformer(
        n_layers=2, codebook_size=8, hidden_dims=(8,), max_epochs=1, device="cpu",
        module=OfAScript, random_state=seed,
    )
    return rq.fit(X)

def transform(model, X):
    return model.transform(X)

if __name__ == "__main__":
    X = np.random.default_rng(0).normal(size=(200, 6))
    workers = Parallel(n_jobs=2, backend="loky")
    models = workers(delayed(fit)(seed, X) for seed in range(2))
    found = workers(delayed(transform)(model, X) for model in models)
    for model, codes in zip(models, found):
        assert (codes == model.transform(X)).all()
    print("done")
"""


@pytest.mark.slow
def test_loky_fits_and_applies_a_module_class_of_a_script(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True
    )
    assert done.stdout.strip() == "done", done.stderr
