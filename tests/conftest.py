from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

# Without it scikit-learn skips a check; SciPy reads it when it is imported.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
# Test processes run side by side, one per core. This must be set before torch is
# imported, also in the processes that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
import torch
from rich.progress import Progress
from sklearn import config_context

from sk_rqvae import RQVAETransformer
from sk_rqvae._sklearn import progress_bars

# No test may fail for the time it takes on a busy machine.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def small(**changes):
    """A transformer that trains in a fraction of a second."""
    parameters = {
        "n_layers": 3,
        "codebook_size": 16,
        "hidden_dims": (32,),
        "max_epochs": 5,
        "random_state": 0,
        "device": "cpu",
        # The same arithmetic on every processor.
        "mixed_precision": "no",
    }
    return RQVAETransformer(**(parameters | changes))


class ReadWith:
    """An array-like that calls a function whenever it is read.

    The function stands for another thread, or for a signal handler.
    """

    def __init__(self, values, function):
        self.values = values
        self.function = function
        self.shape = np.shape(values)

    def __array__(self, dtype=None, copy=None):
        self.function()
        return np.array(self.values, dtype=dtype)

    def __len__(self):
        return len(self.values)


def new_generator():
    """A generator of torch that always draws the same numbers."""
    return torch.Generator().manual_seed(0)


def assert_same_model(one, other):
    """Two fitted transformers have the same weights and buffers, bit for bit."""
    ours, theirs = (each.net_.module_.state_dict() for each in (one, other))
    assert ours
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def contents(folder):
    """The bytes of each file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def threads_of_torch(n_threads):
    """Let torch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def blobs():
    """Rows in clusters of clusters, float32."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(8, 1, 12)) + 0.5 * rng.normal(size=(8, 5, 12))
    rows = centres.reshape(40, 1, 12) + 0.1 * rng.normal(size=(40, 15, 12))
    return rng.permutation(rows.reshape(-1, 12)).astype(np.float32)


@pytest.fixture(autouse=True)
def _blobs_stay_as_they_are(request):
    """A test that changed the rows of all tests would make others fail."""
    if "blobs" not in request.fixturenames:
        yield
        return
    rows = request.getfixturevalue("blobs")
    before = rows.tobytes()
    yield
    assert rows.tobytes() == before, "the test changed blobs"


@pytest.fixture(scope="session")
def fitted(blobs):
    """A small transformer fitted on `blobs`; tests must not change it."""
    return small().fit(blobs)


@pytest.fixture(scope="module")
def on_cuda(blobs):
    """A transformer fitted on CUDA from an array; tests must not change it."""
    return small(device="cuda").fit(blobs)


@pytest.fixture
def dispatch():
    """Turn scikit-learn's array API dispatch on, if what it needs is installed."""
    with ExitStack() as stack:
        try:
            stack.enter_context(config_context(array_api_dispatch=True))
        except ImportError as error:
            pytest.skip(str(error))
        yield


@pytest.fixture
def no_screen():
    """Draw into memory, and forget the figures afterwards."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture
def eager_switches():
    """Let threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="session")
def fresh_python():
    """Run a script in a new process and return what it prints."""

    def run(script, *arguments):
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def wait_for_bar(monkeypatch):
    """Show bars at once, and hold work up until its bar has been drawn."""
    drawn = threading.Event()
    update = Progress.update

    def watched(self, *args, **kwargs):
        update(self, *args, **kwargs)
        drawn.set()

    def wait():
        for _ in range(2):  # the first drawing may have begun before `wait`
            drawn.clear()
            assert drawn.wait(20)

    monkeypatch.setattr(Progress, "update", watched)
    monkeypatch.setattr(progress_bars, "_SHOWN_AFTER", 0.0)
    monkeypatch.setattr(progress_bars, "_DRAWN_EVERY", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    return wait


@pytest.fixture
def bars(monkeypatch):
    """The bars that would have been drawn."""
    bars = []
    monkeypatch.setattr(progress_bars._Bar, "start", lambda bar: bars.append(bar))
    monkeypatch.setattr(progress_bars._Bar, "join", lambda bar: None)
    return bars
