"""The tables of `ablation.py`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from _datasets import CACHE, origin
from _mechanisms import DEFAULT, MECHANISMS, Mechanism
from _records import Records, Result
from _references import read_references
from _table import NOTHING, markdown_table, mean_and_spread

ERRORS = ("fitted", "unseen", "first code", "first code, unseen")
WORTH = 0.005
SHARED_WORTH = 0.005
CAPTION = f"""\
Each figure is the error without a mechanism over the error of the defaults, for the
same rows and seed: above 1, the mechanism helps. Means over seeds ± standard
deviations. The columns of the verdict are geometric means over the data sets.

- A mechanism *pays* if, without it, one of these means is at least {1 + WORTH:g} and at
  least two standard errors over the data sets above 1, or if the share of distinct IDs
  of the fitted rows ("shared IDs") is lower by at least {SHARED_WORTH:.1%}.
- It *costs* if, without it, one is as far below 1.
- "On some" names the data sets where, without it, an error is at least 1% and two
  standard errors over the seeds above 1, if no mean over the data sets is.
- It *was not at work* if every error is exactly that of the defaults.
- Otherwise it *does not pay*."""

Runs = Mapping[tuple[str, str], Mapping[int, Result]]
"""Results by data set and mechanism, then by seed."""


class Effect(NamedTuple):
    """The error without a mechanism over that of the defaults.

    Attributes
    ----------
    mean, error : float
        The mean, and its standard error, NaN for one value.
    """

    mean: float
    error: float

    def exceeds(self, worth: float) -> bool:
        """Whether the mechanism lowers the error, and not by chance."""
        return self.mean >= 1 + worth and not self.mean - 2 * self.error < 1

    def falls_below(self, worth: float) -> bool:
        """Whether the mechanism raises the error, and not by chance."""
        return self.mean <= 1 - worth and not self.mean + 2 * self.error > 1


def print_tables(
    records: Records, version: str | None, options: argparse.Namespace
) -> None:
    """Print all tables of the results of one version of the code.

    Parameters
    ----------
    records : Records
    version : str or None
        None is the version of the last record.
    options : argparse.Namespace
        Data, seeds, device and the like.
    """
    versions = [what["code"] for what, _ in records]
    if not versions:
        raise SystemExit(f"There are no records in {options.records}.")
    version = version or versions[-1]
    runs = _runs(records, version, options)
    data = [name for name in options.data if (name, DEFAULT) in runs]
    if not data:
        raise SystemExit(
            f"{options.records} has no record of the defaults for this setting, device "
            f"and data, and these seeds. Its last records are of code {version}."
        )
    mechanisms = [each for each in MECHANISMS if each.name in options.mechanisms]
    print(_heading(version, options), end="\n\n")
    for name in data:
        print(f"- {name}: {origin(name)}")
    print("\nThe defaults:\n")
    print(_default_table(runs, data, options), end="\n\n")
    for error in ERRORS:
        print(f"Error without the mechanism / error of the defaults, {error}:\n")
        print(_ratio_table(runs, data, mechanisms, error), end="\n\n")
    print("Verdicts:\n")
    print(_verdict_table(runs, data, mechanisms), end="\n\n")
    print(CAPTION)


def _runs(records: Records, version: str, options: argparse.Namespace) -> Runs:
    runs: dict[tuple[str, str], dict[int, Result]] = {}
    for what, result in records:
        wanted = (
            what["code"] == version
            and what["setting"] == options.setting
            and what["device"] == options.device
            and what["seed"] in options.seeds
        )
        if wanted:
            run = runs.setdefault((what["data"], what["mechanism"]), {})
            run[what["seed"]] = result
    return runs


def _heading(version: str, options: argparse.Namespace) -> str:
    seeds = " ".join(map(str, options.seeds))
    quick = " A quick run: the figures mean nothing." * options.quick
    return (
        f"Code {version}; setting: {options.setting}; {options.device}; "
        f"seeds {seeds}.{quick}"
    )


def _default_table(runs: Runs, data: Sequence[str], options: argparse.Namespace) -> str:
    """Errors of the defaults beside faiss, and first codes beside k-means."""
    references = read_references(CACHE) if options.setting == "full" else {}
    header = (
        "data",
        "seeds",
        "MSE / faiss",
        "unseen",
        "first code / k-means",
        "unseen",
    )
    header += ("distinct",)
    rows = []
    for name in data:
        default = _finished(runs[name, DEFAULT])
        pairs = [
            (result, references[name, seed])
            for seed, result in default.items()
            if (name, seed) in references
        ]
        cells = [NOTHING] * 4
        if pairs:
            cells = [
                mean_and_spread([run["fitted"] / ref.faiss for run, ref in pairs]),
                mean_and_spread(
                    [run["unseen"] / ref.unseen_faiss for run, ref in pairs]
                ),
                mean_and_spread(
                    [ref.first_share(run["first code"]) for run, ref in pairs]
                ),
                mean_and_spread(
                    [
                        ref.unseen_first_share(run["first code, unseen"])
                        for run, ref in pairs
                    ]
                ),
            ]
        cells.append(mean_and_spread([run["distinct"] for run in default.values()]))
        rows.append([name, str(len(default)), *cells])
    return markdown_table(header, rows)


def _finished(results: Mapping[int, Result]) -> dict[int, Result]:
    return {seed: each for seed, each in results.items() if "diverged" not in each}


def _ratio_table(
    runs: Runs, data: Sequence[str], mechanisms: Sequence[Mechanism], error: str
) -> str:
    rows = []
    for mechanism in mechanisms:
        cells = []
        for name in data:
            ratios = _ratios(runs, name, mechanism.name, error)
            cells.append(mean_and_spread(ratios) if ratios else NOTHING)
            if _n_diverged(runs, name, mechanism.name):
                cells[-1] = f"{_n_diverged(runs, name, mechanism.name)} diverged"
        rows.append([mechanism.name, *cells])
    return markdown_table(("off", *data), rows)


def _ratios(runs: Runs, data: str, mechanism: str, error: str) -> list[float]:
    """Errors without the mechanism over those of the defaults, by seed."""
    default = _finished(runs[data, DEFAULT])
    without = _finished(runs.get((data, mechanism), {}))
    return [
        without[seed][error] / default[seed][error]
        for seed in sorted(default.keys() & without.keys())
        if default[seed][error] > 0
    ]


def _n_diverged(runs: Runs, data: str, mechanism: str) -> int:
    results = runs.get((data, mechanism), {})
    return len(results) - len(_finished(results))


def _verdict_table(
    runs: Runs, data: Sequence[str], mechanisms: Sequence[Mechanism]
) -> str:
    header = ("off", "in its place", *ERRORS, "shared IDs", "verdict")
    rows = []
    for mechanism in mechanisms:
        effects = {
            error: _over_data(runs, data, mechanism.name, error) for error in ERRORS
        }
        shared = _more_shared(runs, data, mechanism.name)
        rows.append(
            [
                mechanism.name,
                mechanism.instead,
                *(_cell(effect) for effect in effects.values()),
                NOTHING if shared is None else f"{shared:+.1%}",
                _verdict(runs, data, mechanism.name, effects, shared),
            ]
        )
    return markdown_table(header, rows)


def _cell(effect: Effect | None) -> str:
    return NOTHING if effect is None else f"{effect.mean:.3f}"


def _over_data(
    runs: Runs, data: Sequence[str], mechanism: str, error: str
) -> Effect | None:
    """Geometric mean over data sets of the mean ratios over seeds."""
    logs = [
        math.log(fmean(ratios))
        for ratios in (_ratios(runs, name, mechanism, error) for name in data)
        if ratios
    ]
    if not logs:
        return None
    return Effect(math.exp(fmean(logs)), _standard_error(logs))


def _standard_error(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _more_shared(runs: Runs, data: Sequence[str], mechanism: str) -> float | None:
    """Additional share of fitted rows whose ID is not their own, a mean."""
    changes = []
    for name in data:
        default = _finished(runs[name, DEFAULT])
        without = _finished(runs.get((name, mechanism), {}))
        changes += [
            default[seed]["distinct"] - without[seed]["distinct"]
            for seed in default.keys() & without.keys()
        ]
    return fmean(changes) if changes else None


def _verdict(
    runs: Runs,
    data: Sequence[str],
    mechanism: str,
    effects: Mapping[str, Effect | None],
    shared: float | None,
) -> str:
    known = {name: effect for name, effect in effects.items() if effect is not None}
    if not known or shared is None:
        return NOTHING
    if any(_n_diverged(runs, name, mechanism) for name in data):
        return "pays: training diverges without it"
    if shared == 0 and _changes_nothing(runs, data, mechanism):
        return "was not at work"
    gains = [name for name, effect in known.items() if effect.exceeds(WORTH)]
    gains += ["shared IDs"] * (shared >= SHARED_WORTH)
    losses = [name for name, effect in known.items() if effect.falls_below(WORTH)]
    if gains:
        lost = f"; costs {'; '.join(losses)}" if losses else ""
        return f"pays: {'; '.join(gains)}{lost}"
    some = [name for name in data if _helps(runs, name, mechanism)]
    on_some = f" on some: {', '.join(some)}" if some else ""
    if losses:
        return f"costs: {'; '.join(losses)}" + (f"; pays{on_some}" if some else "")
    return f"pays{on_some}" if some else "does not pay"


def _changes_nothing(runs: Runs, data: Sequence[str], mechanism: str) -> bool:
    return all(
        ratio == 1
        for name in data
        for error in ERRORS
        for ratio in _ratios(runs, name, mechanism, error)
    )


def _helps(runs: Runs, data: str, mechanism: str) -> bool:
    for error in ERRORS:
        ratios = _ratios(runs, data, mechanism, error)
        if ratios:
            effect = Effect(fmean(ratios), _standard_error(ratios))
            if effect.exceeds(2 * WORTH):
                return True
    return False
