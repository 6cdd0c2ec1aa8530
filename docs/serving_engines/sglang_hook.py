"""For SGLang, started with ``--enable-custom-logit-processor``."""

from catalogue import masked
from sglang.srt.sampling.custom_logit_processor import CustomLogitProcessor


class CatalogueProcessor(CustomLogitProcessor):
    def __call__(self, logits, custom_param_list=None):
        # SGLang adds the request to its `custom_params` as "__req__".
        requests = [params["__req__"] for params in custom_param_list]
        return masked(logits, [request.output_ids for request in requests])
