from __future__ import annotations

import zipfile
from hashlib import sha256

import numpy as np
import pytest

from generative_recommender.movielens import FILMS, RATINGS, read_wheel
from generative_recommender.split import leave_one_out

FILM_LINES = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "7\tVery Long Line, A\t1995\tComedy Drama\n"
    "2\tNull\t1996\tDrama\n"
    "5\tÉté\t\tDrama\n"
)
RATING_LINES = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "b\t5\t3\t30\n"
    "a\t2\t1\t20\n"
    "b\t7\t4\t10\n"
    "a\t7\t5\t9\n"
    "b\t2\t4\t30\n"
)


@pytest.fixture
def wheel(tmp_path):
    """A wheel with three films and two users, and the checksums of its files."""
    path = tmp_path / "toy.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(FILMS, FILM_LINES)
        archive.writestr(RATINGS, RATING_LINES)
    contents = {FILMS: FILM_LINES, RATINGS: RATING_LINES}
    return path, {
        name: sha256(text.encode()).hexdigest() for name, text in contents.items()
    }


def test_films_become_texts_in_the_order_of_the_file(wheel):
    assert read_wheel(*wheel).texts == [
        "Very Long Line, A (1995): Comedy Drama",
        "Null (1996): Drama",
        "Été (): Drama",
    ]


def test_histories_are_in_order_of_time_and_ties_in_that_of_the_file(wheel):
    a, b = read_wheel(*wheel).histories
    assert a.tolist() == [0, 1]
    assert b.tolist() == [0, 2, 1]


def test_other_data_than_the_ones_that_were_measured_are_refused(wheel):
    path, checksums = wheel
    with pytest.raises(ValueError, match=rf"{RATINGS} .* must have SHA-256 123\. Got"):
        read_wheel(path, checksums | {RATINGS: "123"})


def test_the_last_item_tests_and_the_one_before_it_validates():
    split = leave_one_out([np.array([4, 2, 9, 1]), np.array([3, 5, 6])])
    assert [history.tolist() for history in split.train] == [[4, 2], [3]]
    assert [history.tolist() for history in split.valid.histories] == [[4, 2], [3]]
    assert split.valid.targets.tolist() == [9, 5]
    assert [history.tolist() for history in split.test.histories] == [[4, 2, 9], [3, 5]]
    assert split.test.targets.tolist() == [1, 6]


def test_a_history_too_short_to_split_is_an_error():
    with pytest.raises(ValueError, match=r"at least 3 items each\. Got one of 2\."):
        leave_one_out([np.array([4, 2, 9]), np.array([3, 5])])
