"""A causal transformer over the codes of semantic IDs.

Of the two transformers in it one runs over the items that a user watched and one over
the codes of the next, as in Lee et al., "Autoregressive Image Generation using Residual
Quantization", CVPR 2022, arXiv 2203.01941. So a history of 50 items is 50 steps and not
50 times the length of an ID, and a search for the next ID reads the history once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generative_recommender.trie import Trie


class CodeTransformer(nn.Module):
    """Gives every item that exists a probability to be a user's next, code by code.

    Parameters
    ----------
    trie : Trie
        The IDs that exist. Codes that lead to none have probability zero, so that the
        probabilities of all items add up to 1.
    width : int
        Width of the states.
    n_layers : int
        Layers of the transformer over items; the one over codes has a single layer.
    n_heads : int
    dropout : float
    max_length : int
        Most items of a history that are read.
    """

    def __init__(
        self,
        trie: Trie,
        *,
        width: int = 64,
        n_layers: int = 2,
        n_heads: int = 2,
        dropout: float = 0.2,
        max_length: int = 50,
    ) -> None:
        super().__init__()
        n_levels = trie.codes.shape[1]
        n_codes = trie.children.shape[1]
        self.max_length = max_length
        self.trie = trie
        self.code_vectors = nn.Parameter(0.02 * torch.randn(n_levels, n_codes, width))
        self.positions = nn.Parameter(0.02 * torch.randn(max_length, width))
        self.levels = nn.Parameter(0.02 * torch.randn(n_levels, width))
        self.bias = nn.Parameter(torch.zeros(n_levels, n_codes))
        self.dropout = nn.Dropout(dropout)
        self.over_items = _blocks(n_layers, width, n_heads, dropout)
        self.over_codes = _blocks(1, width, n_heads, 0.0)

    def user_states(self, histories: Tensor) -> Tensor:
        """Read histories.

        Parameters
        ----------
        histories : Tensor of shape (n_users, length), int64
            Items, the oldest first; what comes after a history's end does not matter.

        Returns
        -------
        Tensor of shape (n_users, length, width)
            What is known of a user after each item.
        """
        n_levels = len(self.levels)
        vectors = self.code_vectors[torch.arange(n_levels), self.trie.codes[histories]]
        steps = vectors.sum(dim=2) + self.positions[: histories.shape[1]]
        return self.over_items(self.dropout(steps))

    def next_code_log_probs(
        self, states: Tensor, codes: Tensor, nodes: Tensor
    ) -> Tensor:
        """Log-probabilities of the code after each prefix of each row of `codes`.

        Parameters
        ----------
        states : Tensor of shape (n, width)
            Of `user_states`.
        codes : Tensor of shape (n, n_before), int64
            From no code to all but the last of an ID.
        nodes : Tensor of shape (n, n_before + 1), int64
            The nodes that the prefixes lead to, the root first.

        Returns
        -------
        Tensor of shape (n, n_before + 1, n_codes)
        """
        n_before = codes.shape[1]
        known = self.code_vectors[torch.arange(n_before), codes].cumsum(dim=1)
        steps = torch.cat([states[:, None], known], dim=1) + self.levels[: n_before + 1]
        outputs = self.over_codes(steps)
        logits = torch.einsum(
            "nlw,lcw->nlc", outputs, self.code_vectors[: n_before + 1]
        )
        logits = logits + self.bias[: n_before + 1]
        logits = logits.masked_fill(self.trie.children[nodes] < 0, -torch.inf)
        return F.log_softmax(logits, dim=-1)

    def item_log_probs(self, states: Tensor, items: Tensor) -> Tensor:
        """Log-probability of one item after each state, of shape (n,)."""
        codes = self.trie.codes[items]
        log_probs = self.next_code_log_probs(
            states, codes[:, :-1], self.trie.paths[items, :-1]
        )
        return log_probs.gather(2, codes[..., None]).sum(dim=(1, 2))


class Block(nn.Module):
    """Causal self-attention and a perceptron, each added to its normalised input.

    Dropout acts on what is added alone: with masks inside attention and perceptron too,
    drawing them would take a third of the time on a CPU.
    """

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.before_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, steps: Tensor) -> Tensor:
        """Steps of shape (n, length, width), each informed of those before it."""
        heads = self.queries_keys_values(self.before_attention(steps))
        queries, keys, values = heads.unflatten(-1, (3, self.n_heads, -1)).permute(
            2, 0, 3, 1, 4
        )
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        steps = steps + self.dropout(self.mixed(attended.transpose(1, 2).flatten(2)))
        return steps + self.dropout(self.perceptron(steps))


def _blocks(n: int, width: int, n_heads: int, dropout: float) -> nn.Sequential:
    blocks = [Block(width, n_heads, dropout) for _ in range(n)]
    return nn.Sequential(*blocks, nn.LayerNorm(width))
