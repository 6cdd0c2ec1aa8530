"""``python -m sk_rqvae`` is ``sk-rqvae``; without arguments it runs the demo."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sk_rqvae.cli import main

_NOT_FOR_DEMO = ("-h", "--help", "--version")


def with_demo(arguments: Sequence[str]) -> list[str]:
    """Put ``demo`` before arguments that have no command.

    Examples
    --------
    >>> with_demo([]), with_demo(["items.npy"]), with_demo(["--help"])
    (['demo'], ['demo', 'items.npy'], ['--help'])
    """
    first = arguments[0] if arguments else "--seed"
    is_option = first.startswith("-") and first not in _NOT_FOR_DEMO
    if is_option or first.lower().endswith(".npy"):
        return ["demo", *arguments]
    return list(arguments)


if __name__ == "__main__":
    sys.exit(main(with_demo(sys.argv[1:])))
