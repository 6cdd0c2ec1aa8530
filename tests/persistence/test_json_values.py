from __future__ import annotations

import json
from collections import deque

import numpy as np
import pytest

from sk_rqvae._persistence.json_values import from_json_value, to_json_value


def state_of(random_state):
    return to_json_value("random_state", random_state)["RandomState"]


@pytest.mark.parametrize("n_drawn", [0, 1, 623, 624, 625])
def test_a_random_state_continues_after_a_round_trip(n_drawn):
    random_state = np.random.RandomState(0)
    random_state.randint(2**31, size=n_drawn)
    random_state.standard_normal(3)  # an odd number leaves one in the cache
    text = json.dumps(to_json_value("random_state", random_state))
    again = from_json_value("random_state", json.loads(text))
    assert again.standard_normal(9).tolist() == random_state.standard_normal(9).tolist()


def test_a_random_state_of_another_generator_is_refused():
    random_state = np.random.RandomState(np.random.PCG64(0))
    with pytest.raises(TypeError, match=r"random_state cannot be saved.*MT19937"):
        to_json_value("random_state", random_state)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        (0, "PCG64"),
        (1, []),
        (1, [0] * 624),
        (1, [1] * 623),
        (1, [1] * 625),
        (1, [-1] * 624),
        (1, [2**32] * 624),
        (1, [1.5] * 624),
        (1, [True] * 624),
        (1, ["1"] * 624),
        (2, -1),
        (2, 625),
        (2, 2**31),
        (2, 2**63),
        (2, 10**30),
        (2, 1.0),
        (2, True),
        (2, None),
        (3, 2),
        (3, -1),
        (4, float("nan")),
        (4, float("inf")),
        (4, 0),
    ],
)
def test_an_invalid_random_state_is_refused(entry, value):
    state = state_of(np.random.RandomState(0))
    state[entry] = value
    with pytest.raises(ValueError, match="random_state is not the state"):
        from_json_value("random_state", {"RandomState": state})


@pytest.mark.parametrize("length", [0, 3, 4, 6])
def test_a_random_state_with_parts_missing_or_added_is_refused(length):
    state = [*state_of(np.random.RandomState(0)), 0][:length]
    with pytest.raises(ValueError, match="random_state is not the state"):
        from_json_value("random_state", {"RandomState": state})


@pytest.mark.parametrize("value", [range(7, 9), deque([7, 8])])
def test_any_sequence_becomes_a_list(value):
    assert to_json_value("codebook_size", value) == [7, 8]
