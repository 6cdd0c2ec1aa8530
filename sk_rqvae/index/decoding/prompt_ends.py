"""Detect a `prompt_length` that is too small, in finished sequences."""

from __future__ import annotations

import numpy as np

from sk_rqvae._checks.codes import IntArray


def check_prompt_ends(
    following: IntArray, first_tokens: IntArray, prompt_length: int
) -> None:
    """Check that the IDs after the prompt were generated.

    The decoder generates one ID and then the end, whereas the IDs of a history follow
    one another. So an ID that another ID follows is part of the prompt. Only finished
    sequences are checked: during `generate`, beams of probability zero can hold any
    token.

    Parameters
    ----------
    following : ndarray of shape (n,)
        The token after each ID.
    first_tokens : ndarray
        Token ids of the first level.
    prompt_length : int

    Raises
    ------
    ValueError
        If an ID begins after another.
    """
    begins = np.isin(following, first_tokens)
    if begins.any():
        raise ValueError(
            "prompt_length must count all tokens before the generated ID: for a "
            "decoder-only model input_ids.shape[1], for an encoder-decoder model 1. "
            f"Got {prompt_length}, after which a sequence has an ID and then token "
            f"{following[begins][0]}, which begins another. Or the sequence was "
            "generated without this decoder."
        )
