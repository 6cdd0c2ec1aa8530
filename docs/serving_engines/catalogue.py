"""What the hooks of all engines share: the processor, and requests as tensors."""

import os
from functools import lru_cache

import torch
from transformers import AutoTokenizer

from sk_rqvae.index import SemanticIDIndex


@lru_cache
def load_processor():
    """Make the processor once in each process of the engine."""
    tokenizer = AutoTokenizer.from_pretrained(os.environ["TOKENIZER"])
    index = SemanticIDIndex.load(os.environ["CATALOGUE"], mmap_mode="r")
    return index.logits_processor(
        tokenizer.get_vocab(), prompt_length=0, eos_token_id=tokenizer.eos_token_id
    )


def masked(logits, generated):
    """Mask rows of logits, given the list of tokens that each request generated."""
    processor = load_processor()
    n_levels = processor.trie.n_levels
    tokens = torch.zeros(len(generated), n_levels, dtype=torch.long)
    for row, of_request in enumerate(generated):
        first = torch.as_tensor(of_request[:n_levels], dtype=torch.long)
        tokens[row, : len(first)] = first
    lengths = torch.tensor([len(of_request) for of_request in generated])
    device = logits.device
    return processor.mask_rows(logits, tokens.to(device), lengths.to(device))
