"""Predict vectors of behaviour from rows: ridge regression with a kernel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sk_rqvae._model.products import matmul


class BehaviourMap(nn.Module):
    r"""A fixed function from standardised rows to vectors of behaviour.

    .. math:: f(x) = W^\top x
        + \sum_j a_j \exp\left(- \frac{\lVert x - c_j \rVert^2}{2 d}\right)

    The linear part is a regression on the rows. The kernel adds what single items
    :math:`c_j` differ from it by, and items with similar rows get a similar addition.
    :math:`d`, the number of columns, is the mean squared norm of standardised rows.

    Parameters
    ----------
    n_features : int
    n_centres : int
    n_outputs : int
    """

    linear: Tensor
    centres: Tensor
    coefficients: Tensor
    weight: Tensor

    def __init__(self, n_features: int, n_centres: int, n_outputs: int) -> None:
        super().__init__()
        sizes = {
            "linear": (n_features, n_outputs),
            "centres": (n_centres, n_features),
            "coefficients": (n_centres, n_outputs),
        }
        for name, size in sizes.items():
            self.register_buffer(name, torch.zeros(size, dtype=torch.float32))
        # The `affinity_weight` of the fit, which later fits must keep.
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of centres and of outputs."""
        n_centres, n_outputs = self.coefficients.shape
        return n_centres, n_outputs

    def forward(self, x: Tensor) -> Tensor:
        """Predicted behaviour of standardised rows, ``(n, n_outputs)``."""
        similarity = kernel(x, self.centres)
        return matmul(x, self.linear) + matmul(similarity, self.coefficients)


def with_behaviour(rows: Tensor, behaviour_map: BehaviourMap | None) -> Tensor:
    """Put the predicted behaviour, if there is a map, in front of standardised rows."""
    if behaviour_map is None:
        return rows
    return torch.cat([behaviour_map(rows), rows], dim=-1)


def kernel(x: Tensor, centres: Tensor) -> Tensor:
    """Gaussian kernel whose squared bandwidth is the number of columns."""
    squares = x.square().sum(1, keepdim=True) + centres.square().sum(1)
    distances = (squares - matmul(2 * x, centres.T)).clamp_min(0)
    return torch.exp(distances / (-2 * x.shape[1]))
