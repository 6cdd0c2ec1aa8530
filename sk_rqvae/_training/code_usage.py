"""Usage and perplexity of the codes of an epoch."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def usage_and_perplexity(
    counts: torch.Tensor, sizes: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Share of codes used and perplexity of each level.

    Parameters
    ----------
    counts : Tensor of shape (sum of sizes,)
        How often each code was chosen, level after level.
    sizes : sequence of int

    Returns
    -------
    usage : list of float
        In [0, 1].
    perplexity : list of float
        In [1, size]: the exponential of the entropy of code frequencies.
    """
    usage, perplexity = [], []
    for level in counts.cpu().split(list(sizes)):  # read from the device once
        share = level / level.sum()
        usage.append(float((level > 0).float().mean()))
        perplexity.append(float(torch.special.entr(share).sum().exp()))
    return usage, perplexity
