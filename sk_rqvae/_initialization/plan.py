r"""The plan of a fit: what follows from numbers of rows and from the codebooks.

Throughout, ``unexplained`` is the share of the variance, in [0, 1], that the initial
codebooks leave unexplained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from sk_rqvae._defaults import (
    EPOCHS_OF_ONE_ROW,
    EQUAL_NOISE_SHARE,
    WEIGHT_DECAY_OF_ONE_STEP,
)

# Bounds of time and memory. With 60 000 rows, `fit` takes 1.15 times as long with 128
# experts, and leaves 0.99 of the error of fitted rows and as much of unseen ones.
# The others were not measured on their own.
_MAX_EXPERTS = 64
_MAX_EPOCHS = 150
# Unexplained share of variance that is not trained. Not measured on its own.
_NEGLIGIBLE_RESIDUAL = 1e-4
# Reached with two rows for each code of all levels. Not measured on its own.
_MAX_LOG_GROWTH = 0.5


def growth_of_unseen_residuals(sizes: Sequence[int], n_rows: int) -> float:
    r"""Expected norm of the residuals of unseen rows over that of fitted rows.

    A centre that averages :math:`m` fitted rows lies nearer to each of them. That
    divides their squared residuals by about :math:`1 + 1/m` and multiplies those of
    unseen rows by as much. Over all levels this compounds to
    :math:`\exp(2 \sum_l K_l / n)`, in squares, clipped at :math:`e`.

    Parameters
    ----------
    sizes : sequence of int
        Codes of each level, :math:`K_l`.
    n_rows : int
        Fitted rows, :math:`n`.

    Returns
    -------
    float
        The square root of that ratio, in [1, 1.65].
    """
    return math.exp(min(_MAX_LOG_GROWTH, sum(sizes) / n_rows))


def noise_factor(unexplained: Tensor) -> Tensor:
    """Factor on the parameter `noise` that depends on the initial codebooks.

    In low dimensions, noise of the size of the residual changes the nearest code; in
    high dimensions it rarely does. A low unexplained share is the sign of few
    dimensions. Where it is high, training would mostly memorise rows, and more noise
    prevents that.

    Parameters
    ----------
    unexplained : Tensor of shape ()

    Returns
    -------
    Tensor of shape ()
        In [0, 1.42]; 1 where `EQUAL_NOISE_SHARE` is unexplained.
    """
    return (unexplained / EQUAL_NOISE_SHARE).sqrt()


def is_nearly_exact(unexplained: float) -> bool:
    """Whether so little is unexplained that training could only raise the error."""
    return unexplained < _NEGLIGIBLE_RESIDUAL


def number_of_epochs(n_rows: int) -> int:
    """Epochs of a complete fit: inversely proportional to the root of the rows.

    More rows then take more steps in all, but fewer for each row.
    """
    return min(math.ceil(EPOCHS_OF_ONE_ROW / math.sqrt(n_rows)), _MAX_EPOCHS)


def size_of_batches(n_rows: int, most: int) -> int:
    """Rows of each batch of an epoch, at most `most`; the last can have fewer.

    Batches of `most` rows could leave few for the last, which makes a full step too.
    """
    return math.ceil(n_rows / math.ceil(n_rows / most))


def usual_weight_decay(n_steps: int) -> float:
    """Weight decay of a fit of so many steps: it falls with their square root.

    References
    ----------
    Loshchilov and Hutter (2019), "Decoupled weight decay regularization",
    arXiv:1711.05101, appendix B.1.
    """
    return WEIGHT_DECAY_OF_ONE_STEP / math.sqrt(n_steps)


def number_of_experts(n_rows: int | None, width: int) -> int:
    """Experts of the decoder, each with at least as many rows as hidden units.

    With fewer rows than hidden units, an expert could fit each of its rows exactly.

    Parameters
    ----------
    n_rows : int or None
        Fitted rows. None is an unknown number.
    width : int
        Hidden units of each expert.

    Returns
    -------
    int
        In [1, 64].
    """
    if n_rows is None:
        return _MAX_EXPERTS
    return min(max(n_rows // width, 1), _MAX_EXPERTS)
