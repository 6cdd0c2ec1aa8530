from __future__ import annotations

import pytest

import ablation
from _ablation_tables import print_tables
from _mechanisms import MECHANISMS, Mechanism, switched_off
from _records import Records
from sk_rqvae import RQVAETransformer, _defaults
from sk_rqvae._model import assignment

REPLACED = [each.name for each in MECHANISMS if each.functions or each.constants]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "records.jsonl"


def quick(path, *arguments):
    return ["--quick", "--data", "nouns", "--records", str(path), *arguments]


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda each: each.name)
def test_the_package_has_what_a_mechanism_replaces(mechanism):
    RQVAETransformer().set_params(**mechanism.parameters)
    with switched_off(mechanism):
        pass


def test_a_constant_is_replaced_where_it_is_used_and_put_back():
    before = assignment.CANDIDATES_PER_BEAM
    with switched_off(Mechanism("", "", constants={"CANDIDATES_PER_BEAM": 7})):
        assert assignment.CANDIDATES_PER_BEAM == 7
    assert assignment.CANDIDATES_PER_BEAM == before == _defaults.CANDIDATES_PER_BEAM


@pytest.mark.parametrize(
    "missing",
    [{"constants": {"NO_SUCH": 0}}, {"functions": {"_training.fit:no_such": len}}],
)
def test_a_mechanism_that_the_package_lacks_is_an_error(missing):
    with pytest.raises(AttributeError), switched_off(Mechanism("", "", **missing)):
        pass


def test_a_quick_run_switches_off_what_is_replaced(path, capsys):
    ablation.main(quick(path, "--seeds", "0", "--mechanisms", *REPLACED))
    printed = capsys.readouterr().out
    assert all(f"| {name} " in printed for name in REPLACED)
    results = [result for _, result in Records(path)]
    assert len(results) == 1 + len(REPLACED)
    assert len({result["fitted"] for result in results}) > len(results) / 2


def test_a_second_call_runs_only_what_is_new(path, capsys):
    arguments = quick(path, "--mechanisms", "re-ranking", "--seeds")
    ablation.main([*arguments, "0"])
    before = path.read_text()
    capsys.readouterr()
    ablation.main([*arguments, "0", "1"])
    assert "2 of 4 fits to do" in capsys.readouterr().err
    assert path.read_text().startswith(before)


def test_a_run_stops_when_its_time_is_over(path, capsys):
    ablation.main(quick(path, "--mechanisms", "re-ranking", "--minutes", "0"))
    assert len(list(Records(path))) == 1
    assert "the next call continues" in capsys.readouterr().err


# Verdicts, of made-up errors


def verdict(path, capsys, ratios, distinct=1.0):
    """The row of a mechanism without which errors change by `ratios`."""
    name = "input noise"
    errors = dict.fromkeys(
        ("fitted", "unseen", "first code", "first code, unseen"), 1.0
    )
    records = Records(path)
    for seed in (0, 1, 2):
        for data in ("nouns", "films"):
            what = {"data": data, "seed": seed, "device": "cpu", "setting": "full"}
            what["code"] = "made up"
            default = {**errors, "distinct": 1.0, "seconds": 1.0}
            records.add(default, mechanism="default", **what)
            changed = {key: ratios.get((data, key), 1.0) for key in errors}
            # Seeds differ a little.
            changed = {key: r + (r != 1) * seed / 1e4 for key, r in changed.items()}
            without = {**changed, "distinct": distinct, "seconds": 1.0}
            records.add(without, mechanism=name, **what)
    options = ablation._parse(["--table", "--mechanisms", name, "--records", str(path)])
    print_tables(records, None, options)
    table = capsys.readouterr().out.partition("Verdicts:")[2]
    return next(line for line in table.splitlines() if line.startswith(f"| {name}"))


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({("nouns", "unseen"): 1.03, ("films", "unseen"): 1.04}, "pays: unseen"),
        ({("nouns", "fitted"): 0.97, ("films", "fitted"): 0.96}, "costs: fitted"),
        ({("nouns", "unseen"): 0.98, ("films", "unseen"): 1.03}, "on some: films"),
        ({("nouns", "unseen"): 1.001, ("films", "unseen"): 1.001}, "does not pay"),
        ({}, "was not at work"),
    ],
)
def test_a_mechanism_pays_if_errors_are_larger_without_it(
    path, capsys, ratios, expected
):
    assert expected in verdict(path, capsys, ratios)


def test_a_mechanism_pays_if_rows_share_ids_without_it(path, capsys):
    row = verdict(path, capsys, {}, distinct=0.9)
    assert "+10.0%" in row
    assert "pays: shared IDs" in row


def test_tables_need_records(path):
    with pytest.raises(SystemExit, match="no records"):
        ablation.main(["--table", "--records", str(path)])


def test_tables_need_records_of_the_setting(path):
    ablation.main(quick(path, "--mechanisms", "re-ranking", "--minutes", "0"))
    with pytest.raises(SystemExit, match="no record of the defaults"):
        ablation.main(["--table", "--records", str(path)])


# Where data come from
