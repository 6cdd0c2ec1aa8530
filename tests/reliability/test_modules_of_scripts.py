from __future__ import annotations

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
