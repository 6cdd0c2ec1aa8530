"""The hooks of the documentation, in small engines that call them as real ones do.

The engines themselves need a GPU. Only their base classes are replaced here.
"""

from __future__ import annotations

import enum
import importlib.util
import sys
import types
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from sk_rqvae.index import SemanticIDIndex

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

HOOKS = Path(__file__).parents[2] / "docs" / "serving_engines"
EOS = 0
N_STEPS = 60


class Direction(enum.Enum):
    UNIDIRECTIONAL = enum.auto()
    SWAP = enum.auto()


ENGINES = {
    "vllm.v1.sample.logits_processor": {
        "LogitsProcessor": object,
        "MoveDirectionality": Direction,
    },
    "vllm.v1.worker.gpu.sample.logits_processor": {"LogitsProcessor": object},
    "sglang.srt.sampling.custom_logit_processor": {"CustomLogitProcessor": object},
}


class Request:
    """A request that wants the ID of an item, or free text of eight tokens."""

    def __init__(self, rng, *, asks):
        self.asks = asks
        self.prompt = rng.integers(1, 10, rng.integers(1, 6)).tolist()
        self.output_ids = []

    @property
    def params(self):
        return types.SimpleNamespace(
            extra_args={"semantic_ids": 1} if self.asks else None
        )

    @property
    def ended(self):
        if not self.asks:
            return len(self.output_ids) == 8
        return self.output_ids[-1:] == [EOS]


@pytest.fixture
def index():
    codes = np.random.default_rng(0).integers(0, 6, (30, 3))
    return SemanticIDIndex(codebook_size=6).fit(codes)


@pytest.fixture
def vocabulary(index):
    return {token: 10 + number for number, token in enumerate(index.vocabulary())}


@pytest.fixture
def load(index, vocabulary, tmp_path, monkeypatch):
    """Load a hook as its engine would."""
    index.save(tmp_path / "catalogue.index")
    monkeypatch.setenv("CATALOGUE", str(tmp_path / "catalogue.index"))
    monkeypatch.setenv("TOKENIZER", "made")
    tokenizer = types.SimpleNamespace(get_vocab=lambda: vocabulary, eos_token_id=EOS)
    monkeypatch.setattr(
        transformers.AutoTokenizer, "from_pretrained", lambda name: tokenizer
    )
    for name, attributes in ENGINES.items():
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            package = types.ModuleType(".".join(parts[:depth]))
            monkeypatch.setitem(sys.modules, package.__name__, package)
        vars(package).update(attributes)

    def loaded(name):
        spec = importlib.util.spec_from_file_location(name, HOOKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    loaded("catalogue")
    return loaded


def arriving(rng, step):
    n_new = rng.integers(0, 4) if step < N_STEPS - 10 else 0
    return [Request(rng, asks=bool(rng.random() < 0.7)) for _ in range(n_new)]


def scores(rng, batch, vocabulary):
    return torch.from_numpy(rng.random((len(batch), 10 + len(vocabulary))))


def check(requests, index, vocabulary):
    """Every request that asked has the ID of an item and the end."""
    names = {number: token for token, number in vocabulary.items()}
    asked = [request for request in requests if request.asks]
    texts = ["".join(names[t] for t in r.output_ids[:-1]) for r in asked]
    assert len(set(index.lookup(index.parse_tokens(texts)).tolist())) > 10
    assert all(r.ended for r in requests)


def choose(logits, masked, batch):
    """Append the best token of each row."""
    for row, request in enumerate(batch):
        if not request.asks:
            assert torch.equal(masked[row], logits[row])
        request.output_ids.append(int(masked[row].argmax()))


def test_the_hook_of_the_first_model_runner_follows_requests_through_the_batch(
    load, index, vocabulary
):
    rng = np.random.default_rng(1)
    hook = load("vllm_v1").CatalogueProcessor(None, torch.device("cpu"), False)
    assert hook.needs_output_token_ids()
    assert not hook.is_argmax_invariant()
    batch, everything = [], []
    for step in range(N_STEPS):
        removed = [row for row, request in enumerate(batch) if request.ended]
        free, added, moved = list(removed), [], []
        for request in arriving(rng, step):
            everything.append(request)
            row = free.pop(0) if free else len(batch)
            batch[row : row + 1] = [request]
            added.append((row, request.params, request.prompt, request.output_ids))
        while free:
            row = free.pop()
            last = batch.pop()
            if row < len(batch):
                batch[row] = last
                moved.append((len(batch), row, Direction.UNIDIRECTIONAL))
        if len(batch) > 1 and rng.random() < 0.5:
            one, other = rng.choice(len(batch), 2, replace=False).tolist()
            batch[one], batch[other] = batch[other], batch[one]
            moved.append((one, other, Direction.SWAP))
        changes = types.SimpleNamespace(removed=removed, added=added, moved=moved)
        hook.update_state(changes if removed or added or moved else None)
        logits = scores(rng, batch, vocabulary)
        choose(logits, hook.apply(logits.clone()), batch)
    check(everything, index, vocabulary)


def test_the_hook_of_the_second_model_runner_reads_tokens_on_the_device(
    load, index, vocabulary
):
    rng = np.random.default_rng(2)
    tokens = torch.zeros(50, 16, dtype=torch.int32)
    prompts = torch.zeros(50, dtype=torch.int32)
    states = types.SimpleNamespace(
        max_num_reqs=50,
        device=torch.device("cpu"),
        all_token_ids=types.SimpleNamespace(gpu=tokens),
        prompt_len=types.SimpleNamespace(gpu=prompts),
    )
    hook = load("vllm_v2").CatalogueProcessor(None, states)
    slots, everything = {}, []
    for step in range(N_STEPS):
        slots = {slot: r for slot, r in slots.items() if not r.ended}
        for request in arriving(rng, step):
            everything.append(request)
            slot = next(number for number in count() if number not in slots)
            slots[slot] = request
            assert hook.add_request(slot, request.params) == request.asks
            prompts[slot] = len(request.prompt)
            tokens[slot, : len(request.prompt)] = torch.tensor(request.prompt)
        rows = rng.permutation(list(slots)).astype(np.int32)
        batch = [slots[slot] for slot in rows.tolist()]
        context = types.SimpleNamespace(
            expanded_idx_mapping=torch.from_numpy(rows),
            pos=torch.tensor([len(r.prompt) + len(r.output_ids) - 1 for r in batch]),
        )
        logits = scores(rng, batch, vocabulary)
        choose(logits, hook.apply(logits.clone(), context), batch)
        for slot, request in slots.items():
            at = len(request.prompt) + len(request.output_ids) - 1
            tokens[slot, at] = request.output_ids[-1]
    check(everything, index, vocabulary)


def test_the_hook_of_sglang_reads_what_each_request_generated(load, index, vocabulary):
    rng = np.random.default_rng(3)
    hook = load("sglang_hook").CatalogueProcessor()
    batch, everything = [], []
    for step in range(N_STEPS):
        batch = [request for request in batch if not request.ended]
        new = [request for request in arriving(rng, step) if request.asks]
        batch, everything = batch + new, everything + new
        rng.shuffle(batch)
        if not batch:
            continue
        logits = scores(rng, batch, vocabulary)
        choose(logits, hook(logits, [{"__req__": request} for request in batch]), batch)
    check(everything, index, vocabulary)
