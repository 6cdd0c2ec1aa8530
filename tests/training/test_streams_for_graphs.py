"""Streams for graphs, with stand-ins for PyTorch's, since no device is needed."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from sk_rqvae._training.streams_for_graphs import StreamsForGraphs

DEVICE = torch.device("cuda:0")


@pytest.fixture
def drawn(monkeypatch):
    """The numbers of the streams that were drawn, as PyTorch gives 32 by turns."""
    numbers, turns = [], count()

    def stream(device):
        numbers.append(next(turns) % 32)
        return SimpleNamespace(cuda_stream=numbers[-1])

    monkeypatch.setattr(torch.cuda, "Stream", stream)
    return numbers


def test_trainings_one_after_the_other_use_one_stream(drawn):
    streams = StreamsForGraphs()
    for _ in range(40):
        with streams.stream(DEVICE):
            pass
    assert drawn == [0]


def test_trainings_at_once_have_different_streams(drawn):
    streams = StreamsForGraphs()
    with ExitStack() as stack:
        used = [stack.enter_context(streams.stream(DEVICE)) for _ in range(32)]
        assert {stream.cuda_stream for stream in used} == set(range(32))
        with pytest.raises(RuntimeError, match="32 trainings on cuda:0"):
            stack.enter_context(streams.stream(DEVICE))


def test_a_stream_in_use_is_not_given_when_pytorch_gives_it_again(drawn):
    streams = StreamsForGraphs()
    with streams.stream(DEVICE) as first:
        for _ in range(31):  # those of the rest of a program
            torch.cuda.Stream(DEVICE)
        with streams.stream(DEVICE) as second:
            assert second.cuda_stream != first.cuda_stream


def test_a_stream_comes_back_from_a_training_that_fails(drawn):
    streams = StreamsForGraphs()
    with pytest.raises(OSError, match="failed"), streams.stream(DEVICE):
        raise OSError("failed")
    with streams.stream(DEVICE):
        assert drawn == [0]


def test_devices_have_streams_of_their_own(drawn):
    streams = StreamsForGraphs()
    with streams.stream(DEVICE), streams.stream(torch.device("cuda:1")):
        assert drawn == [0, 1]
