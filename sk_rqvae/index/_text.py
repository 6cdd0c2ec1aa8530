"""The tokens of a fitted index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from numpy.typing import ArrayLike

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index._base import IndexBase
from sk_rqvae.index._decoding import PrefixAllowedTokens
from sk_rqvae.index._tokens import level_tokens, parsed, token_rows


class IndexText(IndexBase):
    """The part of `SemanticIDIndex` that speaks to text decoders."""

    def tokens(self, ids: ArrayLike) -> list[str]:
        """Write IDs as text: a token a code, a letter a level.

        Parameters
        ----------
        ids : array-like of shape (n, n_columns)
            IDs, whether or not they exist.

        Returns
        -------
        list of str
            Such as ``"<a_12><b_3><c_250>"``. After ``z`` come ``aa``, ``ab`` and so on.
        """
        self._fitted()
        return ["".join(tokens) for tokens in token_rows(self._checked_codes(ids))]

    def parse_tokens(self, texts: Iterable[str]) -> IntArray:
        """Read IDs from text, the inverse of `tokens`.

        Parameters
        ----------
        texts : iterable of str

        Returns
        -------
        ndarray of shape (n, n_columns), int64
            IDs, whether or not they exist.

        Raises
        ------
        ValueError
            If a text is not one token a level, in order, or a code is out of range.
        """
        return self._checked_codes(parsed(texts, self._fitted().store.n_columns))

    def vocabulary(self) -> list[str]:
        """List all tokens that IDs can have, level by level.

        A level has as many as its codebook has codes. Where that is not known, and for
        the suffix, it has as many as the largest code so far asks for.

        Returns
        -------
        list of str
        """
        widths = self._fitted().store.widths
        return [
            name
            for level, width in enumerate(widths)
            for name in level_tokens(level, width)
        ]

    def prefix_allowed_tokens_fn(
        self,
        token_to_id: Mapping[str, int],
        *,
        eos_token_id: int,
        prompt_length: int,
    ) -> PrefixAllowedTokens:
        """Make the callable that holds a text decoder to IDs that exist.

        Parameters
        ----------
        token_to_id : mapping of str to int
            Has every token of `vocabulary`; ``tokenizer.get_vocab()``.
        eos_token_id : int
            The one token that may follow a whole ID.
        prompt_length : int
            How many tokens come before the ID in what `generate` passes on: for a
            decoder-only model the length of its input, ``input_ids.shape[1]``, padding
            included; for an encoder-decoder model 1, the start token.

        Returns
        -------
        callable
            For ``model.generate(..., prefix_allowed_tokens_fn=...)``, with any number
            of beams. Its method ``ids(sequences)`` gives the IDs in what was generated.
            `generate` needs room for the tokens of an ID and the end:
            ``max_new_tokens=n_columns + 1``. The callable reads this index as it is at
            the time of each call.

        Raises
        ------
        ValueError
            If the index is empty, or a token has no id.

        References
        ----------
        .. [1] De Cao et al., "Autoregressive Entity Retrieval", ICLR 2021, arXiv
           2010.00904: decoding held to a prefix tree.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_rqvae import SemanticIDIndex
        >>> index = SemanticIDIndex(policy="none").fit([[0, 1], [0, 2], [2, 0]])
        >>> token_to_id = {"</s>": 0}
        >>> for number, token in enumerate(index.vocabulary(), start=1):
        ...     token_to_id[token] = number
        >>> allowed = index.prefix_allowed_tokens_fn(
        ...     token_to_id, eos_token_id=0, prompt_length=1
        ... )
        >>> beam = np.array([0, token_to_id["<a_0>"]])
        >>> [index.vocabulary()[number - 1] for number in allowed(0, beam)]
        ['<b_1>', '<b_2>']
        """
        store = self._fitted().store
        if len(store) == 0:
            raise ValueError("the index must have items to decode. Got none.")
        return PrefixAllowedTokens(
            lambda prefix: self._fitted().store.next_codes(prefix),
            store.widths,
            token_to_id,
            eos_token_id=eos_token_id,
            prompt_length=prompt_length,
        )
