from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from file_server import file_server

from generative_recommender import book_crossing, movielens
from generative_recommender.amazon import load_amazon
from generative_recommender.data_sets import load, prepare
from generative_recommender.interactions import core_of
from generative_recommender.split import split_histories

FILMS = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "7\tVery Long Line, A\t1995\tComedy Drama\n"
    "2\tNull\t1996\tDrama\n"
    "9\tNobody's\t1996\tDrama\n"
    "5\tÉté\t\tDrama\n"
).encode()
RATINGS = (
    b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    b"b\t5\t3\t30\n"
    b"a\t2\t1\t20\n"
    b"b\t7\t4\t10\n"
    b"a\t7\t5\t9\n"
    b"b\t2\t4\t30\n"
)
BOOKS = (
    '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication"\n'
    '"1";"Emma";"Jane Austen";"1999"\n'
    '"2";"EMMA ";"JANE AUSTEN";"1950"\n'
    '"3";"Ulysses &amp; \\"more\\"";"James Joyce";"2001"\n'
    '"4";"Unread";"Nobody";"2001"\n'
).encode("latin-1")
BOOK_RATINGS = (
    b'"User-ID";"ISBN";"Book-Rating"\n'
    b'"u";"1";"0"\n'
    b'"u";"2";"5"\n'
    b'"u";"3";"7"\n'
    b'"v";"2";"9"\n'
    b'"v";"3";"0"\n'
    b'"w";"unknown";"3"\n'
)


def test_rated_films_become_texts_in_the_order_of_the_file():
    assert movielens.from_tables(FILMS, RATINGS).texts == [
        "Very Long Line, A (1995): Comedy Drama",
        "Null (1996): Drama",
        "Été (): Drama",
    ]


def test_films_are_in_order_of_time_and_ties_in_that_of_the_file():
    a, b = movielens.from_tables(FILMS, RATINGS).histories
    assert a.tolist() == [0, 1]
    assert b.tolist() == [0, 2, 1]


def test_editions_of_a_book_are_one_item():
    found = book_crossing.from_tables(BOOKS, BOOK_RATINGS, min_interactions=2)
    assert found.texts == ["Emma by Jane Austen", 'Ulysses &amp; "more" by James Joyce']
    assert [sorted(history.tolist()) for history in found.histories] == [[0, 1]] * 2


def test_readers_of_too_many_books_are_left_out():
    shop = b'"shop";"1";"0"\n"shop";"3";"0"\n"shop";"4";"0"\n'
    found = book_crossing.from_tables(BOOKS, BOOK_RATINGS + shop, 2, max_books=2)
    assert len(found.histories) == 2


def test_a_core_has_enough_interactions_of_each_user_and_item():
    users = np.array([0, 0, 1, 1, 2, 2])
    items = np.array([0, 1, 0, 1, 1, 2])
    assert core_of(users, items, 2).tolist() == [True, True, True, True, False, False]


def test_reviewed_amazon_items_are_read_in_order_of_time(tmp_path):
    items = [{"asin": name, "title": f"Soap {name}"} for name in "abcd"]
    reviews = [
        {"reviewerID": user, "asin": item, "unixReviewTime": 86400 * day}
        for user in "xyz"
        for day, item in enumerate("cabd")
    ]

    def packed(records, write):
        return gzip.compress("".join(write(one) + "\n" for one in records).encode())

    with file_server() as server:
        server.files = {
            "/meta_Beauty.json.gz": packed(items, repr),
            "/reviews_Beauty_5.json.gz": packed(reviews, json.dumps),
        }
        found = load_amazon("beauty", tmp_path, base_url=server.url, n_retries=0)
    assert found.texts == ["Soap a", "Soap b", "Soap c", "Soap d"]
    assert [history.tolist() for history in found.histories] == [[2, 0, 1, 3]] * 3


def test_a_prepared_set_is_read_back_and_its_digest_changes_with_it(tmp_path):
    path = prepare("made", tmp_path, "tfidf")
    data = load("made", tmp_path)
    assert data.X.shape[0] == data.n_items == 90
    assert all(len(history) == 9 for history in data.histories)
    assert load("made", tmp_path).digest == data.digest
    with np.load(path) as arrays:
        changed = {**arrays, "X": arrays["X"] + 1}
    np.savez(path, **changed)
    assert load("made", tmp_path).digest != data.digest


def test_a_set_that_is_not_prepared_says_how_to_prepare_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="Run with --prepare"):
        load("made", tmp_path)


@pytest.fixture
def histories():
    rng = np.random.default_rng(0)
    return [rng.choice(40, 12, replace=False) for _ in range(30)]


def test_the_last_warm_item_tests_and_the_one_before_it_validates(histories):
    split = split_histories(histories, 40)
    for user, history in enumerate(histories):
        warm = history[~split.is_cold[history]].tolist()
        assert split.train[user].tolist() == warm[:-2]
        assert split.valid.histories[user].tolist() == warm[:-2]
        assert split.valid.targets[user] == warm[-2]
        assert split.test.histories[user].tolist() == warm[:-1]
        assert split.test.targets[user] == warm[-1]


def test_cold_items_are_never_seen_and_are_what_cold_queries_ask_for(histories):
    split = split_histories(histories, 40)
    assert split.is_cold.sum() == 2
    seen = [*split.train, *split.test.histories, *split.cold.histories]
    assert not split.is_cold[np.concatenate(seen)].any()
    assert split.is_cold[split.cold.targets].all()
    assert (split.counts[split.is_cold] == 0).all()


def test_histories_without_enough_items_cannot_be_split():
    with pytest.raises(ValueError, match="Got 0 and 0 of 2 users"):
        split_histories([np.array([0, 1]), np.array([1, 2])], 100)
