"""One level of the stack: a table of vectors, plain, on a sphere, or behind a map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SMALLEST_GAIN = 1e-12


class Codebook(nn.Module):
    r"""The vectors of one level.

    Parameters
    ----------
    size : int
        Number of codes.
    dim : int
        Length of a vector.
    normalize : bool
        Keep the codes on the unit sphere. One learned gain stretches all of them to the
        scale of the residuals at this level.
    sim_vq : bool
        Freeze the table and learn one linear map behind it (SimVQ).

    Notes
    -----
    With table :math:`T`, map :math:`W` and gain :math:`g` the vectors are :math:`T`,
    :math:`T W^\top` or :math:`g\, T_j / \lVert T_j \rVert`. Because all codes share
    :math:`W`, a gradient that reaches one code moves all of them.

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
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.normalize = normalize
        table = torch.randn(size, dim, dtype=torch.float32, generator=generator)
        table /= dim**0.5
        self.table = nn.Parameter(table, requires_grad=not sim_vq)
        self.projection = _Identity(dim) if sim_vq else None
        self.gain = (
            nn.Parameter(torch.ones((), dtype=torch.float32)) if normalize else None
        )

    def codes(self) -> Tensor:
        """The codes, ``(size, dim)``; of unit length where `normalize` is set."""
        table = self.table if self.projection is None else self.projection(self.table)
        return F.normalize(table, dim=1) if self.normalize else table

    def vectors(self) -> Tensor:
        """What the codes contribute to a latent, ``(size, dim)``."""
        codes = self.codes()
        return codes if self.gain is None else self.gain * codes

    @torch.no_grad()
    def set_vectors(self, vectors: Tensor) -> None:
        """Make `vectors` the vectors of this level, as far as it can have them."""
        if self.gain is not None:
            mean_length = vectors.norm(dim=1).mean()
            self.gain.copy_(mean_length.clamp_min(_SMALLEST_GAIN))
        self.replace(torch.arange(self.size, device=vectors.device), vectors)

    @torch.no_grad()
    def replace(self, where: Tensor, vectors: Tensor) -> None:
        """Put `vectors` where the index or mask `where` says."""
        if self.projection is not None:
            inverse = torch.linalg.pinv(self.projection.weight)
            vectors = vectors @ inverse.T
        self.table[where] = vectors


class _Identity(nn.Linear):
    """A square linear map that is initialised to the identity and can be trained."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim, bias=False, dtype=torch.float32)

    def reset_parameters(self) -> None:
        """Set the weights to the identity."""
        nn.init.eye_(self.weight)
