"""Shield the model from torch settings of the calling thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def usual_torch_settings() -> Iterator[None]:
    """Disable autocast and the default device, and enable gradients.

    Autocast would round products, and a default device would get tensors that belong
    beside the model. Without gradients nothing could be trained.
    """
    with ExitStack() as settings:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                settings.enter_context(torch.autocast(kind, enabled=False))
        # Before torch 2.5, get_default_device() does not see `with torch.device(...)`.
        if torch.empty(0).device.type != "cpu":
            settings.enter_context(torch.device("cpu"))
        settings.enter_context(torch.inference_mode(False))
        settings.enter_context(torch.enable_grad())
        yield
