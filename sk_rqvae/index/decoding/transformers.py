"""A logits processor for Hugging Face `transformers`. Importing it imports PyTorch."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._checks.scalars import check_int
from sk_rqvae.index.decoding.prompt_ends import check_prompt_ends
from sk_rqvae.index.decoding.trie import IDTrie

try:
    _LogitsProcessor: Any = importlib.import_module("transformers").LogitsProcessor
except ImportError as error:
    raise ImportError(
        "logits_processor needs transformers: pip install 'sk-rqvae[transformers]'."
    ) from error


class SemanticIDLogitsProcessor(_LogitsProcessor):
    """Let `generate` produce the IDs of a catalogue only.

    Made by `SemanticIDIndex.logits_processor`. It handles all beams of a batch at once,
    on the device of the scores and without waiting for it, and keeps no state between
    calls. It can be pickled.

    Parameters
    ----------
    trie : IDTrie
        With NumPy arrays.
    token_ids : list of ndarray
        The token id of each code, level by level.
    prompt_length : int
        Tokens before the ID in what `generate` passes on.
    eos_token_id : int or None
        The one token after a complete ID. None leaves the scores there as they are.

    Notes
    -----
    A sequence that is no prefix of an ID has no allowed token. This happens if it was
    started with another token, or if a beam search has more beams than there are
    prefixes. Sampling needs at least one token. So all tokens but one are masked: the
    first token of the level or, after the last level, `eos_token_id`. The sequence then
    neither raises an error nor stops the others of its batch. `ids` returns -1 for it.
    """

    def __init__(
        self,
        trie: IDTrie,
        token_ids: list[IntArray],
        *,
        prompt_length: int,
        eos_token_id: int | None,
    ) -> None:
        if eos_token_id is not None:
            eos_token_id = check_int("eos_token_id", eos_token_id, minimum=0)
        self.trie = trie
        self.prompt_length = check_int("prompt_length", prompt_length, minimum=0)
        self.eos_token_id = eos_token_id
        self._token_ids = token_ids
        largest = max(int(ids.max(initial=0)) for ids in token_ids)
        self._n_tokens = 1 + max(largest, eos_token_id or 0)
        self._on_device: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_on_device": None}

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Mask the scores of tokens that continue no ID.

        Parameters
        ----------
        input_ids : Tensor of shape (batch, length), int64
        scores : Tensor of shape (batch, vocabulary)

        Returns
        -------
        Tensor of shape (batch, vocabulary)
            Minus infinity for tokens that are not allowed.
        """
        generated = input_ids[:, self.prompt_length :]
        lengths = generated.new_full((len(generated),), generated.shape[1])
        return self.mask_rows(scores, generated, lengths)

    def mask_rows(self, scores: Any, generated: Any, lengths: Any) -> Any:
        """Mask scores of sequences that have generated different numbers of tokens.

        A serving engine decodes requests together that began at different times.

        Parameters
        ----------
        scores : Tensor of shape (batch, vocabulary)
        generated : Tensor of shape (batch, n), int64
            Token ids without the prompt. Those from `lengths` on are ignored.
        lengths : Tensor of shape (batch,), int64
            How many tokens each sequence has generated.

        Returns
        -------
        Tensor of shape (batch, vocabulary)
            Minus infinity for tokens that are not allowed.

        Raises
        ------
        ValueError
            If `scores` do not have a column for every token of the IDs.
        """
        n_tokens = scores.shape[1]
        if n_tokens < self._n_tokens:
            raise ValueError(
                f"scores must have a column for each token. Got {n_tokens}, expected "
                f"at least {self._n_tokens}."
            )
        trie, tokens_at, codes_at = self._tables(scores.device)
        lengths, generated = lengths.long(), generated.long()
        states = lengths.new_full(lengths.shape, trie.root)
        for level in range(min(self.trie.n_levels, generated.shape[1])):
            codes = _codes_of(codes_at[level], generated[:, level])
            states = trie.step(states, codes).where(lengths > level, states)
        depths = lengths.clamp(0, self.trie.n_levels)
        allowed = trie.allowed(states)
        # One token stays where none is allowed, because sampling needs one.
        allowed[:, 0] |= ~allowed.any(1)
        # What is not allowed goes to one more column, which is cut off.
        columns = tokens_at[depths].masked_fill(~allowed, n_tokens)
        kept = allowed.new_zeros(len(allowed), n_tokens + 1).scatter_(1, columns, True)
        kept = kept[:, :n_tokens]
        if self.eos_token_id is None:
            kept = kept | (depths == self.trie.n_levels)[:, None]
        return scores.masked_fill(~kept, float("-inf"))

    def ids(self, sequences: Any) -> IntArray:
        """Return the IDs in what `generate` returned.

        Parameters
        ----------
        sequences : Tensor of shape (n, length)

        Returns
        -------
        ndarray of shape (n, n_columns), int64
            -1 in all columns for a sequence without an ID after its prompt.

        Raises
        ------
        ValueError
            If there is an `eos_token_id`, and an ID is followed by another one, so that
            it is a part of the prompt.
        """
        known, codes = self._found(sequences)[:2]
        codes[~known] = -1
        return codes

    def items(self, sequences: Any, default: Any = None) -> Any:
        """Return the items in what `generate` returned.

        Parameters
        ----------
        sequences : Tensor of shape (n, length)
        default : object, default=None
            What is returned for a sequence without an ID.

        Returns
        -------
        ndarray of shape (n,), or list of n ndarrays if items share IDs

        Raises
        ------
        ValueError
            As in `ids`.
        """
        known, _, states = self._found(sequences)
        return self.trie.items(np.where(known, states, -1), default)

    def _found(
        self, sequences: Any
    ) -> tuple[NDArray[np.bool_], IntArray, NDArray[np.int64]]:
        """Return which sequences have an ID, their codes and their states."""
        tokens = np.asarray(sequences.cpu())[:, self.prompt_length :]
        n_levels = self.trie.n_levels
        codes = np.full((len(tokens), n_levels), -1, dtype=np.int64)
        states = np.full(len(tokens), self.trie.root)
        for level in range(min(n_levels, tokens.shape[1])):
            table, column = self._codes_of(level), tokens[:, level]
            codes[:, level] = _codes_of(table, column)
            states = self.trie.step(states, codes[:, level])
        known = self.trie.leaves(states) >= 0
        if self.eos_token_id is not None and tokens.shape[1] > n_levels:
            after = tokens[known, n_levels]
            check_prompt_ends(after, self._token_ids[0], self.prompt_length)
        return known, codes, states

    def _codes_of(self, level: int) -> IntArray:
        """Return the code of each token at a level, -1 for other tokens."""
        table = np.full(self._n_tokens, -1, dtype=np.int64)
        tokens = self._token_ids[level]
        table[tokens] = np.arange(len(tokens))
        return table

    def _tables(self, device: Any) -> tuple[IDTrie, Any, list[Any]]:
        """Return the trie, and tables of tokens and codes, on a device.

        A row of the first table has the tokens of a level by their codes. Its last row,
        of complete IDs, begins with `eos_token_id`.
        """
        kept = self._on_device  # read once: other threads may use other devices
        if kept is None or kept[0] != device:
            torch = importlib.import_module("torch")
            n_levels = self.trie.n_levels
            tokens = np.zeros((n_levels + 1, self.trie.width), dtype=np.int64)
            for level, of_level in enumerate(self._token_ids):
                tokens[level, : len(of_level)] = of_level[: self.trie.width]
            tokens[n_levels, 0] = self.eos_token_id or 0
            codes = [self._codes_of(level) for level in range(n_levels)]
            tables = (
                self.trie.to(device),
                torch.as_tensor(tokens).to(device),
                [torch.as_tensor(table).to(device) for table in codes],
            )
            self._on_device = kept = device, tables
        return kept[1]


def _codes_of(table: Any, tokens: Any) -> Any:
    """Return the code of each token, -1 for tokens that the table does not have."""
    known = (tokens >= 0) & (tokens < len(table))
    return table[tokens * known] * known - 1 * ~known
