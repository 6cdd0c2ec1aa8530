"""Constrained decoding generates existing IDs only."""

from __future__ import annotations

import pickle
import re
import sys

import numpy as np
import pytest

from sk_rqvae import SemanticIDIndex

EOS, PAD, START = 0, 1, 2


def catalogue(n_items=60, *, policy="suffix", n_first=6):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, n_first, (n_items, 3))
    return SemanticIDIndex(policy=policy, codebook_size=n_first).fit(codes)


def token_ids(index):
    """Token ids as a tokenizer may assign them, not in the order of the codes."""
    tokens = sorted(index.vocabulary(), reverse=True)
    return {token: number for number, token in enumerate(tokens, start=10)}


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


def test_a_beam_that_left_all_ids_does_not_end_before_the_others(index):
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


# A history of two items, the shorter one padded on the left, as for a batch.
def batch(ids):
    torch = pytest.importorskip("torch")
    return torch.tensor(
        [
            [ids["<a_1>"], ids["<b_2>"], ids["<c_3>"], ids["<a_0>"]],
            [PAD, PAD, ids["<a_4>"], ids["<b_4>"]],
        ]
    )


def held_by(index, ids, length, way):
    """The argument of `generate` that constrains it, and the reader of its IDs."""
    if way == "prefix function":
        allowed = index.prefix_allowed_tokens_fn(
            ids, eos_token_id=EOS, prompt_length=length
        )
        return {"prefix_allowed_tokens_fn": allowed}, allowed
    pytest.importorskip("transformers", reason="transformers is not installed")
    processor = index.logits_processor(ids, length, eos_token_id=EOS)
    return {"logits_processor": [pickle.loads(pickle.dumps(processor))]}, processor


@pytest.mark.parametrize("by", ["prefix function", "logits processor"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", ["none", "suffix"])
@pytest.mark.parametrize("build", [decoder_only, encoder_decoder])
def test_every_generated_id_exists(build, policy, way, by):
    index = catalogue(policy=policy)
    ids = token_ids(index)
    model = build(10 + len(ids))
    prompt = batch(ids)
    length = prompt.shape[1] if build is decoder_only else 1
    argument, reader = held_by(index, ids, length, by)
    sequences = model.generate(
        prompt,
        attention_mask=(prompt != PAD).long(),
        max_new_tokens=index.ids_.shape[1] + 1,
        **argument,
        **WAYS[way],
    )
    generated = reader.ids(sequences)
    assert len(generated) == 2 * WAYS[way].get("num_return_sequences", 1)
    assert len(index.lookup(generated)) == len(generated)
    after = sequences[:, length + index.ids_.shape[1]]
    assert (after == EOS).all()
    if "num_beams" in WAYS[way] and "do_sample" not in WAYS[way]:
        for found in np.split(generated, 2):
            assert len(np.unique(found, axis=0)) == len(found)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_generated_for_a_subset_is_in_it(way):
    index = catalogue(40)
    ids = token_ids(index)
    subset = index.item_ids_[::3]
    processor = index.logits_processor(ids, 4, subset, eos_token_id=EOS)
    prompt = batch(ids)
    sequences = decoder_only(10 + len(ids)).generate(
        prompt,
        attention_mask=(prompt != PAD).long(),
        max_new_tokens=index.ids_.shape[1] + 1,
        logits_processor=[processor],
        **WAYS[way],
    )
    found = [item for item in processor.items(sequences) if item is not None]
    assert set(found) <= set(subset.tolist())
    if "beams" not in way:
        assert len(found) == len(sequences)


@pytest.mark.parametrize("by", ["prefix function", "logits processor"])
def test_an_id_of_the_prompt_is_not_read_as_a_generated_one(by):
    torch = pytest.importorskip("torch")
    index = catalogue(policy="none")
    ids = token_ids(index)
    history = [
        ids[token]
        for text in index.tokens(index.ids_[:2])
        for token in re.findall("<.*?>", text)
    ]
    prompt = torch.tensor([[START, *history]])
    argument, reader = held_by(index, ids, 1, by)
    sequences = decoder_only(10 + len(ids)).generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=index.ids_.shape[1] + 1,
        **argument,
    )
    readers = [reader.ids, reader.items] if hasattr(reader, "items") else [reader.ids]
    for read in readers:
        with pytest.raises(ValueError, match=r"prompt_length must .* Got 1, after"):
            read(sequences)


def test_without_an_end_token_an_id_may_follow_an_id(index):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    ids = token_ids(index)
    processor = index.logits_processor(ids, 1)
    texts = ["<a_0>", "<b_1>", "<a_2>", "<b_0>"]
    sequences = torch.tensor([[START, *(ids[text] for text in texts)]])
    assert processor.ids(sequences).tolist() == [[0, 1]]


def test_the_logits_processor_is_one_of_transformers(
    index,
):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    ids = token_ids(index)
    processor = index.logits_processor(ids, 1, eos_token_id=EOS)
    assert isinstance(processor, transformers.LogitsProcessor)
    scores = torch.arange(4.0 * 40).reshape(4, 40)
    beams = torch.tensor([[START, ids["<a_0>"]], [START, ids["<a_2>"]]])
    out = processor(beams, scores[:2])
    for row, codes in enumerate(["12", "0"]):
        allowed = [ids[f"<b_{code}>"] for code in codes]
        assert sorted(out[row].isfinite().nonzero().flatten()) == sorted(allowed)
        assert torch.equal(out[row, allowed], scores[row, allowed])


def test_one_unknown_token_masks_its_own_sequence_only(index):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    ids = token_ids(index)
    processor = index.logits_processor(ids, 1, eos_token_id=EOS)
    for unknown in (PAD, 39, 10_000, ids["<a_1>"], ids["<b_1>"]):
        beams = torch.tensor([[START, unknown], [START, ids["<a_0>"]]])
        out = processor(beams, torch.zeros(2, 40))
        assert out[0].isfinite().sum() == 1
        assert out[0, EOS].isinf()
        assert out[1].isfinite().sum() == 2
        assert torch.multinomial(out.softmax(dim=1), 1).shape == (2, 1)
        found = torch.tensor([[START, unknown, ids["<b_1>"], EOS]])
        assert processor.ids(found).tolist() == [[-1, -1]]
        assert list(processor.items(found)) == [None]
    assert processor.ids(torch.tensor([[START, ids["<a_0>"]]])).tolist() == [[-1, -1]]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"eos_token_id": -1}, ValueError, "eos_token_id must be at least 0. Got -1"),
        ({"eos_token_id": [5]}, TypeError, r"eos_token_id must be an int. Got \[5\]"),
        ({"prompt_length": -2}, ValueError, "prompt_length must be at least 0. Got -2"),
        ({"prompt_length": 1.5}, TypeError, "prompt_length must be an int. Got 1.5"),
    ],
)
def test_tokens_and_lengths_that_cannot_be_are_an_error(index, wrong, error, message):
    pytest.importorskip("transformers")
    arguments = {"eos_token_id": EOS, "prompt_length": 1} | wrong
    for make in (index.logits_processor, index.prefix_allowed_tokens_fn):
        with pytest.raises(error, match=message):
            make(token_ids(index), **arguments)


@pytest.mark.parametrize("wrong", [-1, 1.5, "7", None, 2**63])
def test_a_token_id_that_is_no_number_of_a_token_is_an_error(index, wrong):
    pytest.importorskip("transformers")
    by_name = token_ids(index) | {"<b_1>": wrong}
    by_level = [[5, 6, 7], [7, wrong, 5]]
    for tokens in (by_name, by_level):
        with pytest.raises(ValueError, match=r"token_ids must be integers .* level 2"):
            index.logits_processor(tokens, 0)


def test_tokens_can_be_given_as_the_ids_of_each_level(index):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    by_level = [[5, 6, 7], [7, 6, 5]]
    processor = index.logits_processor(by_level, 0)
    out = processor(torch.tensor([[7]]), torch.zeros(1, 8))
    assert out[0].isfinite().nonzero().flatten().tolist() == [7]
    assert processor.ids(torch.tensor([[7, 7]])).tolist() == [[2, 0]]
    done = torch.zeros(1, 8)
    assert torch.equal(processor(torch.tensor([[7, 7]]), done), done)
    with pytest.raises(ValueError, match="token ids of 2 levels"):
        index.logits_processor([[5, 6, 7]], 0)
    with pytest.raises(ValueError, match="must have 3 token ids"):
        index.logits_processor([[5, 6, 7], [5, 6]], 0)


@pytest.mark.parametrize("eos", [EOS, None])
def test_sequences_of_different_lengths_are_masked_as_each_alone(eos):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    index = catalogue(40)
    ids = token_ids(index)
    processor = index.logits_processor(ids, 0, eos_token_id=eos)
    texts = index.tokens(index.ids_[:6])
    generated = torch.tensor(
        [[ids[token] for token in re.findall("<.*?>", text)] for text in texts]
    )
    generated[4, 0] = PAD
    n_levels = generated.shape[1]
    lengths = torch.tensor([0, 1, 2, n_levels, 2, n_levels + 1])
    ended = torch.column_stack([generated, torch.full((6,), EOS)])
    scores = torch.rand(6, 10 + len(ids))
    masked = processor.mask_rows(scores, ended, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = processor(ended[row : row + 1, :length], scores[row : row + 1])
        assert torch.equal(masked[row : row + 1], alone)
    with pytest.raises(ValueError, match="a column for each token"):
        processor.mask_rows(scores[:, :5], ended, lengths)


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


def test_without_transformers_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "sk_rqvae.index.decoding.transformers", False)
    index = SemanticIDIndex(policy="none").fit([[0, 1]])
    ids = {token: number for number, token in enumerate(index.vocabulary())}
    with pytest.raises(ImportError, match=r"pip install 'sk-rqvae\[transformers\]'"):
        index.logits_processor(ids, 1)
