"""Checkpoints of a training, from which an interrupted fit continues.

A checkpoint has all that later epochs depend on: weights and buffers, the state of the
optimizer, of the random number generators, of the schedule and of early stopping. A fit
that continues initialises as before, from the same seed, and then restores this state.
On one machine the model is the same as without the interruption, bit for bit, if the
arithmetic of its device is repeatable.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import time
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from skorch.callbacks import Callback

from sk_rqvae._checks.parameters import check_seed
from sk_rqvae._persistence.atomic import atomic_write
from sk_rqvae._persistence.json_values import plain_number
from sk_rqvae.cli.matrix_files.regular_file import check_regular_file

SECONDS_BETWEEN = 60.0

_ROWS_HASHED = 1024
_VERSION = 1
# Of a part with this attribute, torch reads nothing and returns what memory had.
_FOLDER = 0x10
# What reading arbitrary bytes as a checkpoint can raise.
_DAMAGED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
_TYPES: dict[str, type] = {
    "parameters": str,
    "seed": int,
    "rows": str,
    "history": str,
    "tensors": dict,
    "optimizer": dict,
    "generators": list,
    "schedules": list,
    "stopping": list,
}
_SCHEDULE = ("last_epoch", "_step_count", "_last_lr")
_EARLY_STOPPING = (
    "misses_",
    "dynamic_threshold_",
    "best_epoch_",
    "best_model_weights_",
)


class Origin(NamedTuple):
    """The inputs of a training; it can be resumed only with the same ones.

    Attributes
    ----------
    parameters : str
        Those of the transformer that were given, as JSON.
    seed : int
        What the training drew its random numbers from.
    rows : str
        Digest of the shape, the type and some of the rows.
    """

    parameters: str
    seed: int
    rows: str


def digest_of(rows: NDArray[Any], tables: Mapping[str, Any]) -> str:
    """A digest of the shape, the type, and the first and last rows of a matrix.

    Affinity and weights in `tables` are part of it as a whole.
    """
    digest = hashlib.sha256(f"{rows.shape} {rows.dtype.str}".encode())
    for part in (rows[:_ROWS_HASHED], rows[-_ROWS_HASHED:]):
        digest.update(np.ascontiguousarray(part).tobytes())
    for name in sorted(tables):
        digest.update(name.encode())
        table = tables[name]
        arrays = (table.row, table.col, table.data) if issparse(table) else (table,)
        for values in arrays:
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running code in it.

    Raises
    ------
    ValueError
        If the file is no checkpoint, is damaged, or is of another version.
    """
    check_regular_file(path)
    content = io.BytesIO(path.read_bytes())
    try:
        _check_sums(content)
        state = torch.load(content, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch advises to run the code in it
        raise ValueError(
            f"{path} is damaged, or holds more than tensors and plain values, which no "
            "checkpoint of sk-rqvae does."
        ) from error
    except _DAMAGED as error:
        raise ValueError(f"{path} is not a checkpoint, or damaged: {error}") from error
    if not isinstance(state, dict) or state.get("version") != _VERSION:
        raise ValueError(
            f"{path} is no checkpoint, or one of another version of the program."
        )
    for name, kind in _TYPES.items():
        if not isinstance(state.get(name), kind):
            raise ValueError(f"{path} is damaged: it has no valid {name!r}.")
    try:
        parameters = json.loads(state["parameters"])
        check_seed(state["seed"])
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(parameters, dict):
        raise ValueError(f"{path} is damaged: it has no valid 'parameters'.")
    return state


def _check_sums(content: io.BytesIO) -> None:
    """Compare the checksums of an archive, which `torch.load` does not."""
    with zipfile.ZipFile(content) as archive:
        damaged = archive.testzip()
        marked = [
            part.filename for part in archive.infolist() if part.external_attr & _FOLDER
        ]
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} differs")
    if marked:
        raise ValueError(f"{marked[0]} is marked as a folder")
    content.seek(0)


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint in one step.

    Raises
    ------
    OSError
        If it cannot be written. `torch.save` to the file itself would hide that.
    """
    content = io.BytesIO()
    torch.save(state, content)
    with atomic_write(path) as file:
        file.write(content.getbuffer())


class TrainingCheckpoint(Callback):
    """Write checkpoints of a training, and restore one at its beginning.

    Parameters
    ----------
    path : Path
    origin : Origin
    state : dict or None
        What `read_checkpoint` gave, to continue from.
    """

    def __init__(
        self, path: Path, origin: Origin, state: dict[str, Any] | None
    ) -> None:
        self.path = path
        self.origin = origin
        self.state = state

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Restore the state; the other callbacks have begun already."""
        self.written_at_ = time.monotonic()
        if self.state is not None:
            try:
                _restore(net, self.state)
            except (*_DAMAGED, RecursionError) as error:
                cause = f"it lacks {error}" if isinstance(error, KeyError) else error
                raise ValueError(
                    f"{self.path} does not fit this training: {cause}. Pass --force "
                    "instead of --resume to start anew."
                ) from error

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """End a training that was interrupted after its last epoch."""
        if len(net.history) > net.max_epochs:
            del net.history[-1]
            raise KeyboardInterrupt

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write a checkpoint if the last one is old; end after the last epoch."""
        if time.monotonic() - self.written_at_ >= SECONDS_BETWEEN:
            try:
                write_checkpoint(self.path, _state_of(net, self.origin))
            except OSError as error:
                warnings.warn(
                    f"no checkpoint was written, and training continues: {error}.",
                    stacklevel=2,
                )
            self.written_at_ = time.monotonic()
        if self.state is not None and len(net.history) == net.max_epochs:
            # skorch would make as many epochs again as there are in all.
            raise KeyboardInterrupt


def _state_of(net: Any, origin: Origin) -> dict[str, Any]:
    module, generators = net.module_, net.generators_
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    return {
        "version": _VERSION,
        **origin._asdict(),
        "history": json.dumps(net.history.to_list(), default=plain_number),
        "tensors": {name: tensor.detach() for name, tensor in tensors.items()},
        "optimizer": net.optimizer_.state_dict(),
        "generators": [each.get_state() for each in generators],
        "schedules": [_schedule_state(each) for each in _schedules(net)],
        "stopping": [
            {name: getattr(each, name) for name in _EARLY_STOPPING}
            for each in _early_stopping(net)
        ],
    }


def _restore(net: Any, state: dict[str, Any]) -> None:
    module = net.module_
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    with torch.no_grad():
        for name, tensor in tensors.items():
            if tensor.numel():  # not all versions have the same empty ones
                tensor.copy_(state["tensors"][name])
    net.optimizer_.load_state_dict(state["optimizer"])
    for generator, saved in zip(net.generators_, state["generators"], strict=True):
        generator.set_state(saved)
    for schedule, saved in zip(_schedules(net), state["schedules"], strict=True):
        vars(schedule).update({name: saved[name] for name in _SCHEDULE})
    for stopping, saved in zip(_early_stopping(net), state["stopping"], strict=True):
        vars(stopping).update({name: saved[name] for name in _EARLY_STOPPING})
    net.history.extend(json.loads(state["history"]))


def _schedules(net: Any) -> list[Any]:
    return [
        callback.lr_scheduler_
        for _, callback in net.callbacks_
        if hasattr(callback, "lr_scheduler_")
    ]


def _schedule_state(schedule: Any) -> dict[str, Any]:
    return {name: getattr(schedule, name) for name in _SCHEDULE}


def _early_stopping(net: Any) -> list[Any]:
    return [
        callback
        for _, callback in net.callbacks_
        if all(hasattr(callback, name) for name in _EARLY_STOPPING)
    ]
