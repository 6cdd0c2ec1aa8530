"""A logits processor for Hugging Face `transformers`. Importing it imports PyTorch."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.decoding.trie import IDTrie

_LogitsProcessor: Any = importlib.import_module("transformers").LogitsProcessor


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
    A sequence that is no prefix of an ID, because it was started with another token or
    because a beam search has more beams than there are prefixes, has no allowed token.
    All its tokens but one are masked, the first of the level or in the end
    `eos_token_id`, because sampling needs one. So it neither raises an error nor stops
    the others of its batch. `ids` returns -1 for it.
    """

    def __init__(
        self,
        trie: IDTrie,
        token_ids: list[IntArray],
        *,
        prompt_length: int,
        eos_token_id: int | None,
    ) -> None:
        self.trie = trie
        self.prompt_length = prompt_length
        self.eos_token_id = eos_token_id
        self._token_ids = token_ids
        self._n_tokens = 1 + max(int(ids.max(initial=0)) for ids in token_ids)
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
        depth = generated.shape[1]
        masked = scores.new_full(scores.shape, float("-inf"))
        if depth >= self.trie.n_levels:
            if self.eos_token_id is None:
                return scores
            masked[:, self.eos_token_id] = scores[:, self.eos_token_id]
            return masked
        trie, tables = self._tables(scores.device)
        states = self._states(trie, tables, generated)
        tokens = tables[depth][0]
        allowed = trie.allowed(states)[:, : len(tokens)]
        # One token stays for a sequence that is on no ID.
        first = allowed.new_ones(allowed.shape).cumsum(1) == 1
        allowed = allowed | (first & (states < 0)[:, None])
        found = scores[:, tokens].masked_fill(~allowed, float("-inf"))
        return masked.index_copy(1, tokens, found)

    def ids(self, sequences: Any) -> IntArray:
        """Return the IDs in what `generate` returned.

        Parameters
        ----------
        sequences : Tensor of shape (n, length)

        Returns
        -------
        ndarray of shape (n, n_columns), int64
            -1 in all columns for a sequence without an ID after its prompt.
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
            known = (column >= 0) & (column < len(table))
            codes[:, level] = np.where(known, table[column * known], -1)
            states = self.trie.step(states, codes[:, level])
        return self.trie.leaves(states) >= 0, codes, states

    def _codes_of(self, level: int) -> IntArray:
        """Return the code of each token at a level, -1 for other tokens."""
        table = np.full(self._n_tokens, -1, dtype=np.int64)
        tokens = self._token_ids[level]
        table[tokens] = np.arange(len(tokens))
        return table

    def _states(self, trie: IDTrie, tables: Any, generated: Any) -> Any:
        states = generated.new_full((len(generated),), trie.root)
        for level in range(generated.shape[1]):
            codes = tables[level][1]
            column = generated[:, level]
            known = column < len(codes)
            states = trie.step(states, codes[column * known] * known - 1 * ~known)
        return states

    def _tables(self, device: Any) -> tuple[IDTrie, list[tuple[Any, Any]]]:
        """Return the trie and the tables of tokens on a device."""
        if self._on_device is None or self._on_device[0] != device:
            torch = importlib.import_module("torch")
            tables = [
                (
                    torch.as_tensor(tokens).to(device),
                    torch.as_tensor(self._codes_of(level)).to(device),
                )
                for level, tokens in enumerate(self._token_ids)
            ]
            self._on_device = device, (self.trie.to(device), tables)
        return self._on_device[1]
