"""What a fit came to: the epoch whose weights it kept, and a line about it."""

from __future__ import annotations

import sys
from typing import Any

from skorch import NeuralNet


def kept_epoch(net: NeuralNet, n_epochs_before: int) -> dict[str, Any] | None:
    """The row of the history whose weights the model has after a training.

    None if a callback ended the first epoch, whose row then lacks the usage.
    """
    rows = [row for row in net.history[n_epochs_before:] if "usage" in row]
    held_out = [row for row in rows if "valid_loss" in row]
    if held_out:
        return min(held_out, key=lambda row: float(row["valid_loss"]))
    return rows[-1] if rows else None


def print_summary(net: NeuralNet, n_epochs_before: int, seconds: float) -> None:
    """Print one line on a fit, where there is a standard output."""
    if sys.stdout is None:
        return
    parts = [f"Fitted in {seconds:.1f} s."]
    kept = kept_epoch(net, n_epochs_before)
    if kept is not None:
        usage = ", ".join(f"{share:.0%}" for share in kept["usage"])
        parts.append(f"Codes in use, in epoch {kept['epoch']}: {usage}.")
    sys.stdout.write(f"{' '.join(parts)}\n")
