"""What a training is given, and its rows as training reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.sparse import csr_array
from torch import Tensor

from sk_rqvae._inference.row_subset import Matrix
from sk_rqvae._initialization.behaviour import BehaviourData, behaviour_data
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._progress import FitProgress
from sk_rqvae._training.batches import Rows, StreamedRows, Weights, resident_rows
from sk_rqvae._training.seeds import Generators, numpy_generator
from sk_rqvae._training.settings import Settings

_BYTES_PER_FLOAT = 4
_ROWS_PROJECTED = 1024


@dataclass(frozen=True)
class Task:
    """The inputs of a training.

    Attributes
    ----------
    X : ndarray, Tensor or RowSubset of shape (n, n_features)
        Checked rows to learn from.
    held_out : RowSubset or None
        Rows that only early stopping sees.
    settings : Settings
        Checked parameters.
    progress : FitProgress
        Receives the progress of each stage.
    is_partial : bool
        Make one pass at a constant learning rate and the lowest temperature, with the
        optimizer's state of the pass before. Otherwise train for all epochs, on the
        learning rate schedule, with annealing and early stopping, and separate IDs.
    generators : Generators
        Draw every random number of the training.
    weights : ndarray of shape (n,) or None
        Positive weights of the rows of `X`. None is equal weights.
    held_out_weights : ndarray or None
        Those of the rows that are held out.
    affinity : csr_array of shape (n, n) or None
        Which rows of `X` belong together.
    """

    X: Matrix
    held_out: Matrix | None
    settings: Settings
    progress: FitProgress
    is_partial: bool
    generators: Generators
    weights: Weights | None = None
    held_out_weights: Weights | None = None
    affinity: csr_array | None = None

    @property
    def n_features(self) -> int:
        """Columns of the rows."""
        return self.X.shape[1]

    def sample(self, count: int, standardize: Callable[[Tensor], Tensor]) -> Tensor:
        """Up to `count` standardised rows, drawn at random."""
        rows = StreamedRows(
            self.X, standardize, self.settings.device, self.generators, self.weights
        )
        return rows.sample(count)

    def behaviour(
        self, affinity: csr_array, mean: Tensor, scale: Tensor
    ) -> BehaviourData:
        """The vectors of behaviour, to which a map is fitted."""
        rng = numpy_generator(self.generators.cpu)
        return behaviour_data(self.X, affinity, self.weights, mean, scale, rng)

    def dataset(
        self,
        rows: Matrix,
        weights: Weights | None,
        module: RQVAEModule,
    ) -> Rows:
        """Standardised rows: on the device if all of the task fit, else streamed."""
        n_rows = len(self.X) + (0 if self.held_out is None else len(self.held_out))
        is_resident = fits_on_device(self.settings, n_rows, module.width)
        kind = resident_rows if is_resident else StreamedRows
        return kind(
            rows, module.standardize, self.settings.device, self.generators, weights
        )


def fits_on_device(settings: Settings, n_rows: int, width: int) -> bool:
    """Whether standardised rows may be copied to the device."""
    return n_rows * width * _BYTES_PER_FLOAT <= settings.resident_bytes


def count_distinct(rows: Tensor, generator: torch.Generator) -> int:
    """Number of different rows, counted by one random projection of each."""
    direction = torch.randn(
        rows.shape[1], dtype=torch.float64, device=rows.device, generator=generator
    )
    projections = [(block * direction).sum(1) for block in rows.split(_ROWS_PROJECTED)]
    return len(torch.unique(torch.cat(projections)))
