"""Run the program inside the tests, on small files."""

from __future__ import annotations

import numpy as np

from sk_rqvae.cli import main

# A fit of a fraction of a second that is the same on every machine.
QUICK = (
    "--max-epochs=1",
    "--hidden-dims=4",
    "--codebook-size=8",
    "--device=cpu",
    "--mixed-precision=no",
)


def run(*arguments):
    """The exit status of the program."""
    return main([str(argument) for argument in arguments])


def failure(capsys, *arguments, status=1):
    """The error of a failed command: one line, and nothing on standard output."""
    capsys.readouterr()
    assert run(*arguments) == status
    said = capsys.readouterr()
    assert said.out == ""
    *warnings, error = said.err.splitlines()
    assert all(": warning: " in line for line in warnings)
    assert error.startswith("sk-rqvae: error: ")
    return error


def frame(rows, **others):
    """A data frame with the columns a, b, c and so on."""
    import pandas as pd

    names = [chr(ord("a") + number) for number in range(rows.shape[1])]
    return pd.DataFrame(rows, columns=names).assign(**others)


def write_frame(path, table, **how):
    """Write a data frame as CSV or Parquet."""
    if path.suffix == ".csv":
        table.to_csv(path, index=False, **how)
    else:
        table.to_parquet(path, index=False, **how)
    return path


def write_rows(path, rows):
    """Write a matrix in the format that the name of the file asks for."""
    if path.suffix == ".npy":
        np.save(path, rows)
        return path
    if path.suffix == ".npz":
        np.savez(path, rows=rows)
        return path
    return write_frame(path, frame(rows.astype(np.float64)))
