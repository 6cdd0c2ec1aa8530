"""Sinkhorn: biases that spread a batch evenly over the codes of a level."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 0.05
"""Entropic regularisation, in mean excess distances over the nearest code.

Not tuned: with 0.025 and 0.1, errors on unseen rows of seven data sets were 1.003 and
1.001 times those with 0.05.
"""

# Found by even masses on random distances, where these eleven iterations balance the
# codes about as well as thirty plain ones. No score of a fit was looked at.
RELAXATIONS = (4.0, 10.0, 2.0, 6.0, 2.0)


def sinkhorn_biases(distances: Tensor) -> Tensor:
    r"""Biases of the codes that make a batch use all codes about equally.

    They are the dual potentials of an entropic optimal transport problem, which assigns
    the rows to the codes so that each code receives the same mass. Subtracted from the
    distances, they make popular codes less attractive and rarely used codes more
    attractive.

    1. Divide the distances by the regularisation :math:`\varepsilon`, a fixed share of
       the mean distance in excess of the nearest code's.
    2. Repeat: normalise the rows and then the columns of the transport plan, and
       extrapolate some of these updates (over-relaxation). All is done in the log
       domain.
    3. Read the potentials of the codes off one row of the plan.

    The number of iterations is fixed, since a convergence test would make each training
    step wait for the GPU.

    Parameters
    ----------
    distances : Tensor of shape (n, codebook_size)
        Squared distances; a constant per row does not matter.

    Returns
    -------
    Tensor of shape (codebook_size,)
        Biases in the units of `distances`, up to a common constant. With them, the mass
        that the soft assignment gives a code is usually within 10% of
        ``1 / codebook_size``.

    Notes
    -----
    With :math:`d_{ij}` the distance of row :math:`i` to code :math:`j`, the plan is
    :math:`P_{ij} \propto \exp((f_i + g_j - d_{ij}) / \varepsilon)`, where :math:`f` are
    the potentials of the rows and :math:`g`, the result, those of the codes.

    Near the solution, one iteration multiplies each component of the error by an
    eigenvalue :math:`\lambda \in [0, 1)` of its derivative. Over-relaxation by a factor
    :math:`\omega` changes it to :math:`1 - \omega (1 - \lambda)`. Plain iterations
    remove the components of small :math:`\lambda`, and each over-relaxed one removes
    those near one large :math:`\lambda`, as in Richardson's method. Eleven iterations
    reach about the accuracy of thirty plain ones.

    References
    ----------
    Cuturi (2013), arXiv:1306.0895; used for semantic IDs by LC-Rec, arXiv:2311.09049.
    Over-relaxation: Thibault et al. (2021), arXiv:1711.01851.
    """
    excess = distances - distances.amin(1, keepdim=True)
    max_scale = -torch.finfo(distances.dtype).tiny
    scale = (-EPSILON * excess.mean()).clamp_max(max_scale)
    log_plan = excess / scale
    for relaxation in RELAXATIONS:
        by_rows = torch.log_softmax(_balanced(log_plan), 1)
        log_plan = torch.lerp(by_rows, torch.log_softmax(by_rows, 0), relaxation)
    # In any row, the log plan minus its initial value is a constant plus the potentials
    # of the codes over epsilon.
    return torch.addcmul(excess[0], _balanced(log_plan)[0], scale, value=-1)


def _balanced(log_plan: Tensor) -> Tensor:
    """One plain iteration: normalise the rows, then the columns."""
    return torch.log_softmax(torch.log_softmax(log_plan, 1), 0)
