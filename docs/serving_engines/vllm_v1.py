"""For vLLM with its first model runner, ``VLLM_USE_V2_MODEL_RUNNER=0``."""

from catalogue import masked
from vllm.v1.sample.logits_processor import LogitsProcessor, MoveDirectionality


class CatalogueProcessor(LogitsProcessor):
    def __init__(self, vllm_config, device, is_pin_memory):
        # For rows of the batch, the lists that vLLM appends generated tokens to.
        self.generated = {}

    def is_argmax_invariant(self):
        return False

    def needs_output_token_ids(self):
        return True

    def update_state(self, batch_update):
        if batch_update is None:
            return
        for row in batch_update.removed:
            self.generated.pop(row, None)
        for row, params, _prompt, tokens in batch_update.added:
            self.generated.pop(row, None)
            if (params.extra_args or {}).get("semantic_ids"):
                self.generated[row] = tokens
        for row, other, direction in batch_update.moved:
            moved = self.generated.pop(row, None)
            displaced = self.generated.pop(other, None)
            if moved is not None:
                self.generated[other] = moved
            if displaced is not None and direction is MoveDirectionality.SWAP:
                self.generated[row] = displaced

    def apply(self, logits):
        if self.generated:
            rows = list(self.generated)
            logits[rows] = masked(logits[rows], list(self.generated.values()))
        return logits
