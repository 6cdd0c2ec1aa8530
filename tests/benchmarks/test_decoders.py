"""The benchmark of decoders."""

from __future__ import annotations

import sys

import torch

import decoders


def test_it_prints_a_line_for_each_decoder_and_one_for_the_defaults(
    monkeypatch, capsys
):
    arguments = ["--quick", "--rows", "200", "--codes", "8"]
    arguments += ["--experts", "4", "--widths", "16"]
    arguments += ["--threads", str(torch.get_num_threads())]
    monkeypatch.setattr(sys, "argv", ["decoders.py", *arguments])
    decoders.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if "|" in line]
    names = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    assert names[0] == "decoder"
    assert names[2:] == ["4 experts", "one layer of 16", "default"]
