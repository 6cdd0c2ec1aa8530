from __future__ import annotations

import numpy as np
import pytest

from generative_recommender.bootstrap import paired_differences
from generative_recommender.fingerprints import hash_of_code
from generative_recommender.records import Record, Records
from generative_recommender.workers import Workers


def test_the_hash_changes_with_code_and_not_with_prose(tmp_path):
    path = tmp_path / "code.py"

    def hashed(source):
        path.write_text(source)
        return hash_of_code([path])

    before = hashed('"""Old."""\n\n\ndef f(x):\n    """Old."""\n    return x + 1\n')
    body = 'def f(x):\n    """New."""\n    return x + 1  # Or.\n'
    prose = f'"""New\nprose."""\n\n# Why.\n{body}'
    assert hashed(prose) == before
    assert hashed(prose.replace("x + 1", "x + 2")) != before
    assert hashed(prose.replace("x + 1", "'# 1'")) != hashed(
        prose.replace("x + 1", "'# 2'")
    )


def test_a_record_is_found_by_its_key_after_a_restart(tmp_path):
    record = Record({"test": np.arange(3)}, {"valid": 0.5, "written": 1.0})
    Records(tmp_path).add("runs/one", "abc", record)
    again = Records(tmp_path)
    found = again.get("runs/one", "abc")
    assert found.facts == record.facts
    assert found.arrays["test"].tolist() == [0, 1, 2]
    assert again.get("runs/one", "other") is None
    assert again.get("runs/two", "abc") is None


def test_the_newest_record_is_found_whatever_its_key_if_asked_for(tmp_path):
    for key, written in (("a", 2.0), ("b", 3.0), ("c", 1.0)):
        Records(tmp_path).add("one", key, Record({}, {"written": written}))
    assert Records(tmp_path, any_key=True).get("one", "d").facts["written"] == 3.0
    assert Records(tmp_path, any_key=True).get("two", "d") is None


def test_results_may_queue_more_calls():
    workers = Workers({"sums": 0}, None)
    found = []

    def keep(total):
        found.append(total)
        if total < 3:
            workers.submit("sums", keep, sum, [total, 1])

    workers.submit("sums", keep, sum, [1, 0])
    workers.run()
    assert found == [1, 2, 3]
    assert workers.n_skipped == 0


def test_no_call_is_started_after_the_time_is_up():
    workers = Workers({"sums": 0}, 0.0)
    workers.submit("sums", pytest.fail, sum, [1, 2])
    workers.run()
    assert workers.n_skipped == 1


def test_a_difference_in_all_seeds_and_users_is_certain():
    rng = np.random.default_rng(0)
    theirs = rng.random((5, 100))
    ours = theirs + 0.1 * rng.random((5, 100))
    up, down = paired_differences([(ours, theirs), (theirs, ours)], n_draws=1000)
    assert up.p_value == down.p_value < 0.002
    assert up.relative == pytest.approx(0.05 / theirs.mean(), rel=0.1)
    assert down.relative < 0


def test_a_difference_that_only_one_seed_has_is_not_certain():
    theirs = np.zeros((5, 100))
    ours = theirs.copy()
    ours[0], ours[1:] = 1.0, -0.1
    (found,) = paired_differences([(ours, theirs)], n_draws=1000)
    assert found.p_value > 0.2


def test_noise_is_rarely_called_a_difference():
    noise = np.random.default_rng(1).random((40, 2, 8, 60))
    found = paired_differences(list(map(tuple, noise)), n_draws=1000)
    assert sum(each.p_value < 0.05 for each in found) <= 8
