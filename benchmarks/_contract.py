"""What a method is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Codes = NDArray[np.int64]

QUICK_EPOCHS = 2


@dataclass(frozen=True)
class Task:
    """The bits that every method has, and how to run it.

    Attributes
    ----------
    n_layers : int
        Codes an ID has.
    n_codes : int
        Codes a codebook has.
    seed : int
        Seeds the method.
    quick : bool
        Cut training short, to see that everything runs.
    device : str
        Where this package's transformer runs.
    """

    n_layers: int
    n_codes: int
    seed: int
    quick: bool = False
    device: str = "auto"

    def epochs(self, wanted: int) -> int:
        return min(wanted, QUICK_EPOCHS) if self.quick else wanted


@dataclass(frozen=True)
class Quantizer:
    """A fitted method.

    Attributes
    ----------
    encode : callable
        Rows to IDs, ``(n, n_layers)``.
    decode : callable
        IDs to reconstructed rows.
    decodes_prefixes : bool
        Whether `decode` takes the first codes of IDs too.
    """

    encode: Callable[[Matrix], Codes]
    decode: Callable[[Codes], NDArray[Any]]
    decodes_prefixes: bool


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes
    ----------
    name : str
    description : str
        The settings, in a line below the table.
    fit : callable
    needs : str or None
        The optional package, by the name it is imported under.
    powers_of_two : bool
        Whether codebooks must have a power of two codes.
    by_default : bool
        Whether the method runs where none is named.
    """

    name: str
    description: str
    fit: Callable[[Matrix, Task], Quantizer]
    needs: str | None = None
    powers_of_two: bool = False
    by_default: bool = True
