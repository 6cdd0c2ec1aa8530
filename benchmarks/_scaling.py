"""The scale that autoencoders see rows in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from _contract import Matrix


@dataclass(frozen=True)
class Scaling:
    """Take off a row and divide by a number."""

    mean: Matrix
    scale: float

    @classmethod
    def of(cls, X: Matrix) -> Scaling:
        """To column means of zero and an overall standard deviation of one."""
        mean = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        return cls(mean, float(np.sqrt(np.square(X - mean).mean())))

    @classmethod
    def none(cls, X: Matrix) -> Scaling:
        return cls(np.zeros(X.shape[1], dtype=np.float32), 1.0)

    def apply(self, X: Matrix) -> Matrix:
        return (X - self.mean) / np.float32(self.scale)

    def undo(self, X: Matrix) -> Matrix:
        return X * np.float32(self.scale) + self.mean
