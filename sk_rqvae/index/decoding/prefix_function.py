"""The function that gives a text decoder the tokens that may come next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._checks.scalars import check_int
from sk_rqvae.index.decoding.prompt_ends import check_prompt_ends
from sk_rqvae.index.decoding.token_tables import token_ids_of_levels
from sk_rqvae.index.formats.tokens import token

NextCodes = Callable[[tuple[int, ...]], IntArray]


class PrefixAllowedTokens:
    """A callable for ``generate(prefix_allowed_tokens_fn=...)`` of `transformers`.

    Made by `SemanticIDIndex.prefix_allowed_tokens_fn`.

    Parameters
    ----------
    next_codes : callable
        Codes that continue a prefix.
    widths : sequence of int
        Codes of each level.
    token_to_id : mapping of str to int
        The tokenizer's vocabulary.
    eos_token_id : int
    prompt_length : int

    Notes
    -----
    If a beam search has more beams than there are prefixes, `transformers` adds beams
    of probability zero. Such a beam is on no ID. It gets some token at every level, so
    that it does not end before the others and stop the search. It never outranks an ID
    that exists.
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
        self._token_ids = token_ids_of_levels(token_to_id, widths, name="token_to_id")
        self._codes = [
            {token_id: code for code, token_id in enumerate(ids.tolist())}
            for ids in self._token_ids
        ]
        self._eos = [check_int("eos_token_id", eos_token_id, minimum=0)]
        self._prompt_length = check_int("prompt_length", prompt_length, minimum=0)

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
            If a sequence has no ID after its prompt, or one that is followed by another
            and so is a part of the prompt.
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
            after = np.asarray(sequence[stop : stop + 1])
            check_prompt_ends(after, self._token_ids[0], self._prompt_length)
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
