"""Real and binary columns: their standardisation, reconstruction and loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# So that a column that is always 0, or always 1, has a finite logit. Not measured.
_MIN_FREQUENCY = 1e-3


def standardized(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Standardise rows in float64, ``(x - mean) / scale``; return float32."""
    return (x - mean).div_(scale).float()


class Columns(NamedTuple):
    """The columns of the rows: real ones, and after them binary ones.

    Attributes
    ----------
    mean, scale : Tensor of shape (n_features,), float64
        Standardisation subtracts the mean and divides by the scale.
    n_binary : int
        Number of binary columns. They are the last ones.
    """

    mean: Tensor
    scale: Tensor
    n_binary: int

    def restore(self, reconstruction: Tensor) -> Tensor:
        """Real columns in the units of the rows; probabilities of binary ones.

        Parameters
        ----------
        reconstruction : Tensor of shape (..., n_features)
            Standardised values of the real columns and logits of the binary ones.

        Returns
        -------
        Tensor of shape (..., n_features), float64
        """
        n_real = len(self.mean) - self.n_binary
        real, logits = reconstruction.double().split([n_real, self.n_binary], dim=-1)
        real = real * self.scale[:n_real] + self.mean[:n_real]
        return torch.cat([real, torch.sigmoid(logits)], dim=-1)

    def with_logits(self, decoded: Tensor) -> Tensor:
        """Convert the standardised values of binary columns to logits.

        For a binary column of frequency ``p`` and scale ``s``, the value ``y`` becomes
        the logit ``logit(p) + 4 s y``. Its probability agrees with ``p + s y`` to first
        order around one half, where the sigmoid has slope 1/4.

        Parameters
        ----------
        decoded : Tensor of shape (n, width)

        Returns
        -------
        Tensor of shape (n, width)
        """
        if not self.n_binary:
            return decoded
        real, binary = _split(decoded, self.n_binary)
        slope = (4 * self.scale[-self.n_binary :]).to(decoded.dtype)
        frequency = self.mean[-self.n_binary :]
        frequency = frequency.clamp(_MIN_FREQUENCY, 1 - _MIN_FREQUENCY)
        logits = torch.logit(frequency).to(decoded.dtype) + slope * binary
        return torch.cat([real, logits], dim=-1)

    def row_losses(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """Squared error of real columns plus cross-entropy of binary ones.

        Parameters
        ----------
        x : Tensor of shape (..., width)
            Standardised rows.
        reconstruction : Tensor of shape (..., width)
            Standardised values of the real columns and logits of the binary ones.

        Returns
        -------
        Tensor of shape (...)
            Sums over the columns.
        """
        if not self.n_binary:
            return (x - reconstruction).square().sum(-1)
        real, binary = _split(x, self.n_binary)
        decoded, logits = _split(reconstruction, self.n_binary)
        losses = (real - decoded).square().sum(-1)
        binary = binary * self.scale[-self.n_binary :] + self.mean[-self.n_binary :]
        binary = binary.round().to(x.dtype).expand_as(logits)
        entropies = F.binary_cross_entropy_with_logits(logits, binary, reduction="none")
        return losses + entropies.sum(-1)


def _split(rows: Tensor, n_binary: int) -> tuple[Tensor, Tensor]:
    """The columns before the binary ones, and the binary ones."""
    return rows[..., :-n_binary], rows[..., -n_binary:]
