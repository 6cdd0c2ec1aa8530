"""Hold a text decoder to the IDs that exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.formats.tokens import level_tokens, token

NextCodes = Callable[[tuple[int, ...]], IntArray]


class PrefixAllowedTokens:
    """A callable for ``generate(prefix_allowed_tokens_fn=...)`` of `transformers`.

    Made by `SemanticIDIndex.prefix_allowed_tokens_fn`.

    Parameters
    ----------
    next_codes : callable
        Codes that continue a prefix.
    widths : sequence of int
        Codes a level.
    token_to_id : mapping of str to int
        The tokenizer's vocabulary.
    eos_token_id : int
    prompt_length : int

    Notes
    -----
    Where a beam search has more beams than there are prefixes, `transformers` fills it
    up with beams of probability zero. Such a beam is not on any ID. It is led along any
    tokens to the length of an ID, so that it cannot end before the others do and stop
    the search; it never outranks an ID that exists.
    """

    def __init__(
        self,
        next_codes: NextCodes,
        widths: Sequence[int],
        token_to_id: Mapping[str, int],
        *,
        eos_token_id: int,
        prompt_length: int,
    ) -> None:
        self._next_codes = next_codes
        self._token_ids = [
            _token_ids(level, width, token_to_id) for level, width in enumerate(widths)
        ]
        self._codes = [
            {token_id: code for code, token_id in enumerate(ids.tolist())}
            for ids in self._token_ids
        ]
        self._eos = [index(eos_token_id)]
        self._prompt_length = prompt_length

    def __call__(self, batch_id: int, input_ids: Any) -> list[int]:
        """Tokens that may follow `input_ids`, prompt included."""
        generated = input_ids[self._prompt_length :].tolist()
        if len(generated) >= len(self._codes):
            return self._eos
        level = len(generated)
        prefix = self._prefix(generated)
        codes = np.empty(0, np.int64) if prefix is None else self._next_codes(prefix)
        if len(codes) == 0:
            return self._token_ids[level][:1].tolist()
        if codes[-1] >= len(self._token_ids[level]):
            raise ValueError(
                "token_to_id must have the tokens of all IDs of the index. Got none "
                f"for {token(level, codes[-1])!r}: IDs were added after this callable "
                "was made. Make a new one."
            )
        return self._token_ids[level][codes].tolist()

    def ids(self, sequences: ArrayLike) -> IntArray:
        """Return the IDs in what `generate` returned.

        Parameters
        ----------
        sequences : array-like or Tensor of shape (n, length)
            Token ids, prompt included.

        Returns
        -------
        ndarray of shape (n, n_columns), int64

        Raises
        ------
        ValueError
            If a sequence has no ID after its prompt.
        """
        stop = self._prompt_length + len(self._codes)
        ids = []
        for sequence in np.asarray(sequences):
            prefix = self._prefix(sequence[self._prompt_length : stop].tolist())
            if prefix is None or len(prefix) < len(self._codes):
                raise ValueError(
                    "sequences must have an ID after the prompt of "
                    f"{self._prompt_length} tokens. Got {sequence.tolist()}."
                )
            ids.append(prefix)
        return np.array(ids, dtype=np.int64).reshape(-1, len(self._codes))

    def _prefix(self, generated: Sequence[int]) -> tuple[int, ...] | None:
        codes = []
        for token_id, codes_of_level in zip(generated, self._codes, strict=False):
            code = codes_of_level.get(token_id)
            if code is None:
                return None
            codes.append(code)
        return tuple(codes)


def _token_ids(level: int, width: int, token_to_id: Mapping[str, int]) -> IntArray:
    tokens = level_tokens(level, width)
    missing = [name for name in tokens if name not in token_to_id]
    if missing:
        raise ValueError(
            "token_to_id must have every token of the index's vocabulary(). Got "
            f"none for {missing[0]!r} and {len(missing) - 1} more. Add them to the "
            "tokenizer first."
        )
    ids = np.array([token_to_id[name] for name in tokens], dtype=np.int64)
    if len(np.unique(ids)) < len(ids):
        raise ValueError(
            "token_to_id must give different tokens different ids. Got "
            f"{len(np.unique(ids))} ids for the {len(ids)} tokens like {tokens[0]!r}."
        )
    return ids
