from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/status").exists(), reason="needs Linux's /proc"
    ),
]

ROWS, COLUMNS = 100_000, 384
MB_IN_FLOAT32 = ROWS * COLUMNS * 4 / 2**20

# Prints by how many MiB anonymous memory, which pages of the file are not, grew at most
# in each call. The first fit imports what training needs, and does not count.
SCRIPT = """
import sys, threading
import numpy as np
from conftest import small

def anonymous_mb():
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["RssAnon"].split()[0]) / 1024

def peak_growth(call):
    before = peak = anonymous_mb()
    over = threading.Event()
    def sample():
        nonlocal peak
        while not over.wait(0.005):
            peak = max(peak, anonymous_mb())
    thread = threading.Thread(target=sample)
    thread.start()
    try:
        call()
    finally:
        over.set()
        thread.join()
    return peak - before

model = small(
    hidden_dims=(16,), decoder_hidden_dims=(16,), embed_dim=8, n_layers=2, n_beams=2,
    max_epochs=1, batch_size=1024, init_sample_size=2048, resident_mb=0,
    **eval(sys.argv[2]),
)
model.fit(np.random.default_rng(0).integers(0, 2, (300, 20)))
rows = np.load(sys.argv[1], mmap_mode="r")
for call in (model.fit, model.partial_fit, model.transform, model.score):
    print(peak_growth(lambda: call(rows)))
"""


def write_rows(path, dtype):
    """A matrix on disk, its last column binary."""
    rows = np.lib.format.open_memmap(path, "w+", dtype, (ROWS, COLUMNS))
    rng = np.random.default_rng(0)
    block = rng.standard_normal((10_000, COLUMNS), dtype=np.float32) + 3
    for start in range(0, ROWS, len(block)):
        part = rows[start : start + len(block)]
        part[:] = block * rng.choice([1, 1.5], COLUMNS)
        part[:, -1] = block[:, -1] > 3
    rows.flush()


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        # The separation of IDs takes most of the time, and the other case has it.
        (np.float32, {"separate_ids": False}),
        # Its sum overflows, and so is no proof that all values are finite.
        (
            np.float16,
            {"early_stopping": True, "n_cat_features": 1, "separate_ids": True},
        ),
    ],
    ids=["float32", "float16, with everything"],
)
def test_no_method_copies_a_memory_mapped_matrix(
    tmp_path, fresh_python, dtype, options
):
    path = tmp_path / "rows.npy"
    write_rows(path, dtype)
    growth = list(map(float, fresh_python(SCRIPT, path, options).split()))
    path.unlink()
    assert max(growth) < 0.9 * MB_IN_FLOAT32
    transform = growth[2]
    assert transform < 0.3 * MB_IN_FLOAT32
