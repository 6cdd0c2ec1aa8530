"""Hold the defaults against faiss on data far from text embeddings.

Prints one Markdown table: the mean squared error of our transformer, at its defaults,
over that of faiss's ResidualQuantizer at beam 1 or 5, whichever is better. For
example::

    python benchmarks/carry_over.py --seeds 0 1 2
    python benchmarks/carry_over.py --cases digits patches

faiss comes with the extra `bench`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from _arguments import conditions, new_parser
from _cases import Case, all_cases
from _contract import Matrix, Method, Task
from _data import sample_rows, split_rows
from _measures import Measures, error_ratios, measure
from _methods import FAISS, OURS, choose_methods, obstacle
from _table import markdown_table, mean_and_spread
from measured import mark_of_this_run

ALLOWED = 1.01
QUICK_ROWS = 300
QUICK_CODES = 32
HEADER = (
    "data",
    "rows x columns",
    "codes",
    "fitted: ours",
    "faiss",
    "unseen: ours",
    "faiss",
    "MSE / faiss",
    "unseen",
    "better beams",
    f"<= {ALLOWED}",
)
CAPTION = f"""\
A tenth of the rows is unseen. Errors are over those of the better faiss beam of the
same split; "better beams" says which, for fitted, unseen rows, each seed. With several
seeds, means and standard deviations; the last column is "yes" where no ratio of any
seed is above {ALLOWED}, and "on average" where only the means are not."""


@dataclass(frozen=True)
class Comparison:
    """One split: ours, and faiss by its method's name."""

    ours: Measures
    faiss: dict[str, Measures]

    @property
    def ratios(self) -> tuple[float, float]:
        """Error over the better beam's, for fitted and for unseen rows."""
        return error_ratios(self.ours, self.faiss.values())

    @property
    def better_beams(self) -> str:
        fitted = min(self.faiss, key=lambda name: self.faiss[name].error)
        unseen = min(self.faiss, key=lambda name: self.faiss[name].unseen_error)
        return ", ".join(name.removeprefix("faiss-") for name in (fitted, unseen))


def main() -> None:
    arguments = _parse()
    rows = []
    for case in _choose(arguments.cases):
        if case.obstacle is not None:
            print(f"Left out {case.name}: {case.obstacle}.", file=sys.stderr)
            continue
        rows.append(_table_row(case, arguments))
    print(f"Defaults away from text embeddings: {conditions(arguments)}", end="\n\n")
    print(mark_of_this_run(), end="\n\n")
    print(markdown_table(HEADER, rows), end="\n\n")
    print(CAPTION)


def _parse() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument(
        "--cases", nargs="+", metavar="PREFIX", help="beginnings of the data's names"
    )
    return parser.parse_args()


def _choose(prefixes: Sequence[str] | None) -> list[Case]:
    cases = all_cases()
    chosen = [case for case in cases if case.name.startswith(tuple(prefixes or [""]))]
    if not chosen:
        names = ", ".join(case.name for case in cases)
        raise SystemExit(f"--cases must begin one of {names}. Got {prefixes}.")
    return chosen


def _table_row(case: Case, arguments: argparse.Namespace) -> list[str]:
    comparisons = [_compare(case, seed, arguments.quick) for seed in arguments.seeds]
    fitted_ratios, unseen_ratios = zip(*(c.ratios for c in comparisons), strict=True)
    n_rows, n_columns = _draw(case, 0, arguments.quick).shape
    return [
        case.name,
        f"{n_rows} x {n_columns}",
        f"{case.n_layers} x {_n_codes(case, arguments.quick)}",
        mean_and_spread([c.ours.variance for c in comparisons]),
        mean_and_spread([_best(c, "variance") for c in comparisons]),
        mean_and_spread([c.ours.unseen_variance for c in comparisons]),
        mean_and_spread([_best(c, "unseen_variance") for c in comparisons]),
        mean_and_spread(fitted_ratios),
        mean_and_spread(unseen_ratios),
        "; ".join(c.better_beams for c in comparisons),
        _verdict(fitted_ratios, unseen_ratios),
    ]


def _compare(case: Case, seed: int, quick: bool) -> Comparison:
    fitted, unseen = split_rows(_draw(case, seed, quick), seed)
    task = Task(case.n_layers, _n_codes(case, quick), seed, quick)
    figures = {}
    for method in choose_methods([OURS, FAISS]):
        _check_runs(method, task)
        figures[method.name] = measure(method, fitted, unseen, task)
    comparison = Comparison(figures.pop(OURS), figures)
    ratios = " fitted, ".join(f"{ratio:.4f}" for ratio in comparison.ratios)
    print(f"{case.name}, seed {seed}: {ratios} unseen", file=sys.stderr)
    return comparison


def _check_runs(method: Method, task: Task) -> None:
    reason = obstacle(method, task)
    if reason is not None:
        raise SystemExit(f"There is nothing to compare with: {reason}.")


def _draw(case: Case, seed: int, quick: bool) -> Matrix:
    return sample_rows(case.draw(seed), QUICK_ROWS if quick else None)


def _n_codes(case: Case, quick: bool) -> int:
    return min(case.n_codes, QUICK_CODES) if quick else case.n_codes


def _best(comparison: Comparison, figure: str) -> float:
    return max(getattr(each, figure) for each in comparison.faiss.values())


def _verdict(*ratios: Sequence[float]) -> str:
    if max(map(max, ratios)) <= ALLOWED:
        return "yes"
    return "on average" if max(map(fmean, ratios)) <= ALLOWED else "no"


if __name__ == "__main__":
    main()
