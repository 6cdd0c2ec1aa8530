"""How often the bootstrap of `generative.py` finds a difference where there is none.

Makes hits of two recommenders of equal quality, whose seeds differ by chance, and
compares them as `generative.py` does. A p-value below 0.05 should be found in 5% of the
comparisons, and one below 0.01 in 1%. For comparison, it prints the same for a t-test
of the means of the seeds. For example::

    python benchmarks/bootstrap_check.py --comparisons 400
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_ind

from _table import markdown_table
from generative_recommender.bootstrap import paired_differences
from measured import mark_of_this_run

N_SEEDS = 5
N_USERS = 2000
N_DRAWS = 2500
AT_ONCE = 50  # a bound of memory
HIT_RATE = 0.25
# How much users differ: the shape of a beta distribution of their hit rates.
SHAPE = 0.5
# Standard deviations of the qualities of seeds, over their mean.
SPREADS = (0.0, 0.03, 0.06, 0.1, 0.14)
LIMITS = (0.05, 0.01)
HEADER = (
    "spread of seeds",
    *(f"bootstrap: p < {limit:g}" for limit in LIMITS),
    *(f"t-test: p < {limit:g}" for limit in LIMITS),
)


class Found(NamedTuple):
    """Of many comparisons, the spread between seeds and the p-values."""

    spread: float
    of_bootstrap: NDArray[np.float64]
    of_t_test: NDArray[np.float64]


def compared(spread: float, n_comparisons: int, rng: np.random.Generator) -> Found:
    """Compare recommenders whose qualities are drawn from one distribution."""
    bootstrap, t_test, spreads = [], [], []
    for first in range(0, n_comparisons, AT_ONCE):
        n_pairs = min(AT_ONCE, n_comparisons - first)
        pairs = [_hits(spread, rng) for _ in range(n_pairs)]
        found = paired_differences(pairs, n_draws=N_DRAWS)
        bootstrap += [difference.p_value for difference in found]
        for pair in pairs:
            means = [hits.mean(axis=1) for hits in pair]
            t_test.append(ttest_ind(*means).pvalue)
            spreads.append(means[0].std(ddof=1) / means[0].mean())
    return Found(float(np.mean(spreads)), np.array(bootstrap), np.array(t_test))


def _hits(
    spread: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Hits of two recommenders, each of shape (n_seeds, n_users)."""
    of_users = rng.beta(SHAPE, SHAPE * (1 - HIT_RATE) / HIT_RATE, N_USERS)
    qualities = np.maximum(0, 1 + spread * rng.normal(size=(2, N_SEEDS, 1)))
    rates = np.clip(of_users * qualities, 0, 1)
    one, other = (rng.random(rates.shape) < rates).astype(np.float32)
    return one, other


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--comparisons", type=int, default=400)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = []
    for spread in SPREADS:
        found = compared(spread, arguments.comparisons, rng)
        shares = [
            f"{np.mean(p_values < limit):.1%}"
            for p_values in (found.of_bootstrap, found.of_t_test)
            for limit in LIMITS
        ]
        rows.append((f"{found.spread:.1%}", *shares))
    print(mark_of_this_run(), markdown_table(HEADER, rows), sep="\n\n")


if __name__ == "__main__":
    main()
