"""A decoder held to the index says only IDs that exist."""

from __future__ import annotations

import numpy as np
import pytest

from sk_rqvae import SemanticIDIndex

EOS, PAD, START = 0, 1, 2


def catalogue(n_items=60, *, policy="suffix", n_first=6):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, n_first, (n_items, 3))
    return SemanticIDIndex(policy=policy, codebook_size=n_first).fit(codes)


def token_ids(index, *, first=10):
    """Ids as a tokenizer would give them, not in order of the codes."""
    tokens = sorted(index.vocabulary(), reverse=True)
    return {token: first + place for place, token in enumerate(tokens)}


@pytest.fixture
def index():
    return SemanticIDIndex(policy="none").fit([[0, 1], [0, 2], [2, 0]])


def test_the_next_tokens_are_those_of_ids_that_exist(index):
    ids = token_ids(index)
    allowed = index.prefix_allowed_tokens_fn(ids, eos_token_id=EOS, prompt_length=2)
    beam = [START, 99]
    assert set(allowed(0, np.array(beam))) == {ids["<a_0>"], ids["<a_2>"]}
    beam.append(ids["<a_0>"])
    assert set(allowed(0, np.array(beam))) == {ids["<b_1>"], ids["<b_2>"]}
    beam.append(ids["<b_2>"])
    assert allowed(0, np.array(beam)) == [EOS]
    beam += [EOS, PAD]
    assert allowed(0, np.array(beam)) == [EOS]


def test_tokens_in_the_prompt_are_not_part_of_the_id(index):
    ids = token_ids(index)
    allowed = index.prefix_allowed_tokens_fn(ids, eos_token_id=EOS, prompt_length=3)
    beam = np.array([ids["<a_0>"], ids["<b_1>"], ids["<a_2>"]])
    assert set(allowed(0, beam)) == {ids["<a_0>"], ids["<a_2>"]}


def test_a_beam_off_every_id_does_not_end_before_the_others(index):
    ids = token_ids(index)
    allowed = index.prefix_allowed_tokens_fn(ids, eos_token_id=EOS, prompt_length=1)
    for wrong in (PAD, EOS, ids["<a_1>"], ids["<b_1>"]):
        (token,) = allowed(0, np.array([START, wrong]))
        assert token != EOS
        assert allowed(0, np.array([START, wrong, token])) == [EOS]


def test_items_added_later_can_be_generated(index):
    ids = token_ids(index)
    allowed = index.prefix_allowed_tokens_fn(ids, eos_token_id=EOS, prompt_length=0)
    index.add([[1, 1]])
    assert ids["<a_1>"] in allowed(0, np.array([], dtype=int))
    index.add([[7, 1]])
    with pytest.raises(ValueError, match="Got none for '<a_7>'"):
        allowed(0, np.array([], dtype=int))


def test_a_tokenizer_without_the_tokens_is_an_error(index):
    ids = token_ids(index)
    del ids["<b_1>"]
    with pytest.raises(ValueError, match="none for '<b_1>' and 0 more"):
        index.prefix_allowed_tokens_fn(ids, eos_token_id=EOS, prompt_length=1)
    same = dict.fromkeys(index.vocabulary(), 5)
    with pytest.raises(ValueError, match="different tokens different ids"):
        index.prefix_allowed_tokens_fn(same, eos_token_id=EOS, prompt_length=1)


def test_an_index_without_items_cannot_hold_a_decoder():
    empty = SemanticIDIndex(codebook_size=2).fit(np.empty((0, 2)))
    with pytest.raises(ValueError, match="must have items to decode"):
        empty.prefix_allowed_tokens_fn({}, eos_token_id=EOS, prompt_length=1)


def test_sequences_without_an_id_are_an_error(index):
    ids = token_ids(index)
    allowed = index.prefix_allowed_tokens_fn(ids, eos_token_id=EOS, prompt_length=1)
    good = [START, ids["<a_0>"], ids["<b_2>"], EOS]
    assert allowed.ids([good]).tolist() == [[0, 2]]
    for wrong in ([START, ids["<a_0>"]], [START, EOS, ids["<b_2>"]]):
        with pytest.raises(ValueError, match="must have an ID after the prompt"):
            allowed.ids([wrong])


def decoder_only(vocabulary_size):
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed"
    )
    transformers.set_seed(0)
    config = transformers.GPT2Config(
        vocab_size=vocabulary_size,
        n_positions=32,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=START,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    return transformers.GPT2LMHeadModel(config).eval()


def encoder_decoder(vocabulary_size):
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed"
    )
    transformers.set_seed(0)
    config = transformers.T5Config(
        vocab_size=vocabulary_size,
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        eos_token_id=EOS,
        pad_token_id=PAD,
        decoder_start_token_id=START,
    )
    return transformers.T5ForConditionalGeneration(config).eval()


WAYS = {
    "greedy": {},
    "sampling": {"do_sample": True, "num_return_sequences": 20, "temperature": 5.0},
    "beams": {"num_beams": 4, "num_return_sequences": 4},
    "more beams than first codes": {"num_beams": 20, "num_return_sequences": 20},
    "more beams, stopping early": {
        "num_beams": 20,
        "num_return_sequences": 20,
        "early_stopping": True,
    },
    "beams that sample": {
        "num_beams": 5,
        "do_sample": True,
        "num_return_sequences": 5,
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", ["none", "suffix"])
@pytest.mark.parametrize("build", [decoder_only, encoder_decoder])
def test_every_generated_id_exists(build, policy, way):
    torch = pytest.importorskip("torch")
    index = catalogue(policy=policy)
    ids = token_ids(index)
    model = build(10 + len(ids))
    # A history of two items, the shorter one padded on the left, as for a batch.
    prompt = torch.tensor(
        [
            [ids["<a_1>"], ids["<b_2>"], ids["<c_3>"], ids["<a_0>"]],
            [PAD, PAD, ids["<a_4>"], ids["<b_4>"]],
        ]
    )
    length = prompt.shape[1] if build is decoder_only else 1
    allowed = index.prefix_allowed_tokens_fn(
        ids, eos_token_id=EOS, prompt_length=length
    )
    sequences = model.generate(
        prompt,
        attention_mask=(prompt != PAD).long(),
        max_new_tokens=index.ids_.shape[1] + 1,
        prefix_allowed_tokens_fn=allowed,
        **WAYS[way],
    )
    generated = allowed.ids(sequences)
    assert len(generated) == 2 * WAYS[way].get("num_return_sequences", 1)
    assert len(index.lookup(generated)) == len(generated)
    after = sequences[:, length + index.ids_.shape[1]]
    assert (after == EOS).all()
    if "num_beams" in WAYS[way] and "do_sample" not in WAYS[way]:
        for found in np.split(generated, 2):
            assert len(np.unique(found, axis=0)) == len(found)


def test_all_ids_can_be_generated_with_as_many_beams():
    torch = pytest.importorskip("torch")
    index = catalogue(12)
    ids = token_ids(index)
    model = decoder_only(10 + len(ids))
    allowed = index.prefix_allowed_tokens_fn(ids, eos_token_id=EOS, prompt_length=1)
    sequences = model.generate(
        torch.tensor([[START]]),
        attention_mask=torch.ones(1, 1, dtype=torch.long),
        max_new_tokens=5,
        num_beams=12,
        num_return_sequences=12,
        prefix_allowed_tokens_fn=allowed,
    )
    generated = allowed.ids(sequences)
    assert sorted(index.lookup(generated)) == list(range(12))
