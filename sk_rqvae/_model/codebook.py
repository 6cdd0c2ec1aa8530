"""One level of the residual quantizer: a table of code vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._model.products import Linear

_MIN_GAIN = 1e-12


def level_offsets(sizes: Sequence[int], device: torch.device | None = None) -> Tensor:
    """Index of the first code of each level among those of all levels."""
    return torch.tensor([0, *sizes[:-1]], device=device).cumsum(0)


class Codebook(nn.Module):
    r"""The code vectors of one level.

    Parameters
    ----------
    size : int
        Number of codes.
    dim : int
        Length of a code vector.
    normalize : bool
        Keep the codes on the unit sphere. One learned gain scales all of them to the
        size of the residuals at this level.
    sim_vq : bool
        Freeze the table and learn one linear map that is applied to all of its rows
        (SimVQ).

    Notes
    -----
    Let :math:`T_j` be row :math:`j` of the table, :math:`W` the matrix of the linear
    map (the identity without `sim_vq`) and :math:`g` the gain. The code vectors are

    .. math:: v_j = W T_j \quad \text{or, with `normalize`,} \quad
        v_j = g \, \frac{W T_j}{\lVert W T_j \rVert} .

    Since all codes share :math:`W`, a gradient on one code moves all of them, also
    those that no row chooses.

    References
    ----------
    SimVQ: Zhu et al. (2024), arXiv:2411.02038.
    """

    gain: nn.Parameter | None

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        normalize: bool = False,
        sim_vq: bool = False,
    ) -> None:
        super().__init__()
        self.size = size
        self.normalize = normalize
        table = torch.randn(size, dim, dtype=torch.float32)
        table /= dim**0.5
        self.table = nn.Parameter(table, requires_grad=not sim_vq)
        self.projection = _Identity(dim) if sim_vq else None
        self.gain = (
            nn.Parameter(torch.ones((), dtype=torch.float32)) if normalize else None
        )

    def codes(self) -> Tensor:
        """The codes without the gain, ``(size, dim)``; unit vectors if `normalize`."""
        table = self.table if self.projection is None else self.projection(self.table)
        return F.normalize(table, dim=1) if self.normalize else table

    def vectors(self) -> Tensor:
        """The code vectors that are summed over the levels, ``(size, dim)``."""
        codes = self.codes()
        return codes if self.gain is None else self.gain * codes

    @torch.no_grad()
    def set_vectors(self, vectors: Tensor) -> None:
        """Set all code vectors.

        With `normalize`, the gain becomes their mean norm and only their directions are
        kept. With `sim_vq` and a singular linear map, the codes approximate them by
        least squares.
        """
        if self.gain is not None:
            mean_norm = vectors.norm(dim=1).mean()
            self.gain.copy_(mean_norm.clamp_min(_MIN_GAIN))
        self.replace(torch.arange(self.size, device=vectors.device), vectors)

    @torch.no_grad()
    def replace(self, where: Tensor, vectors: Tensor) -> None:
        """Replace the codes that the indices or the boolean mask `where` selects."""
        if self.projection is not None:
            inverse = torch.linalg.pinv(self.projection.weight)
            vectors = vectors @ inverse.T
        self.table[where] = vectors


class _Identity(Linear):
    """A square linear map that is initialised to the identity and can be trained."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim, bias=False)

    def reset_parameters(self) -> None:
        """Set the weights to the identity."""
        nn.init.eye_(self.weight)
