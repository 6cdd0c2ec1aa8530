"""What `verbose` prints at the end of a fit."""

from __future__ import annotations

import sys

from skorch import NeuralNet


def print_summary(net: NeuralNet, seconds: float) -> None:
    """Print one line on a fit, where there is a standard output."""
    if sys.stdout is None:
        return
    usage = ", ".join(f"{share:.0%}" for share in net.history[-1]["usage"])
    sys.stdout.write(
        f"Fitted to epoch {len(net.history)} in {seconds:.1f} s. Codes in use: "
        f"{usage}.\n"
    )
