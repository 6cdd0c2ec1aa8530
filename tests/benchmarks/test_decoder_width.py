"""The benchmark of the decoder's width."""

from __future__ import annotations

import sys

import torch

import decoder_width


def test_it_prints_a_line_for_each_width_and_one_for_the_defaults(monkeypatch, capsys):
    arguments = ["--quick", "--rows", "200", "--codes", "8", "--widths", "16", "32"]
    arguments += ["--threads", str(torch.get_num_threads())]
    monkeypatch.setattr(sys, "argv", ["decoder_width.py", *arguments])
    decoder_width.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if "|" in line]
    names = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    assert names[0] == "decoder width"
    assert names[2:] == ["16", "32", "default"]
