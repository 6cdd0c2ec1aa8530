"""For vLLM with its second model runner. Nothing here waits for the GPU."""

import torch
from catalogue import load_processor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor


class CatalogueProcessor(LogitsProcessor):
    def __init__(self, vllm_config, req_states):
        self.processor = load_processor()
        self.requests = req_states
        self.asks = torch.zeros(
            req_states.max_num_reqs, dtype=torch.bool, device=req_states.device
        )

    def add_request(self, req_idx, sampling_params):
        asks = bool((sampling_params.extra_args or {}).get("semantic_ids"))
        self.asks[req_idx] = asks
        return asks

    def apply(self, logits, ctx):
        requests = ctx.expanded_idx_mapping.long()
        begin = self.requests.prompt_len.gpu[requests].long()
        all_tokens = self.requests.all_token_ids.gpu
        levels = torch.arange(self.processor.trie.n_levels, device=logits.device)
        at = (begin[:, None] + levels).clamp(max=all_tokens.shape[1] - 1)
        tokens = all_tokens[requests[:, None], at]
        masked = self.processor.mask_rows(logits, tokens, ctx.pos + 1 - begin)
        return torch.where(self.asks[requests][:, None], masked, logits)
