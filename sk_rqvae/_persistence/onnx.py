"""The model as an ONNX graph."""

from __future__ import annotations

import copy
import warnings
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from sk_rqvae._model.code_names import names_of
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._persistence.atomic import atomic_write
from sk_rqvae._persistence.regular_files import writable_target
from sk_rqvae._torch_settings import usual_torch_settings

_EXAMPLE_ROWS = 2


class _Encoder(nn.Module):
    def __init__(self, module: RQVAEModule) -> None:
        super().__init__()
        self.module, self.names = module, names_of(module)

    def forward(self, rows: Tensor) -> Tensor:
        codes = self.module.assign(self.module.standardize(rows.double()))
        return self.names.named(codes)


class _Decoder(nn.Module):
    def __init__(self, module: RQVAEModule) -> None:
        super().__init__()
        self.module, self.names = module, names_of(module)

    def forward(self, codes: Tensor) -> Tensor:
        codes = self.names.placed(codes)
        return self.module.restore(self.module.reconstruct(codes)).float()


def _searchsorted(sorted_sequence: Tensor, values: Tensor, **options: Any) -> Tensor:
    """Do what `torch.searchsorted` does, by bisection in operations of ONNX."""
    n_smaller = torch.zeros_like(values)
    for bit in reversed(range(len(sorted_sequence).bit_length())):
        larger = n_smaller + (1 << bit)
        index = (larger - 1).clamp_max(len(sorted_sequence) - 1)
        inside = larger <= len(sorted_sequence)
        smaller = sorted_sequence[index] < values
        n_smaller = torch.where(inside & smaller, larger, n_smaller)
    return n_smaller


_DECOMPOSITIONS = {torch.ops.aten.searchsorted.Tensor: _searchsorted}


@usual_torch_settings()
def write_onnx(
    module: RQVAEModule, path: str | PathLike[str], *, decoder: bool
) -> None:
    """Write encoder or decoder to one file; see `RQVAETransformer.to_onnx`."""
    onnx = _import_onnx()
    writable_target(path)
    module = copy.deepcopy(module).cpu().eval()
    if decoder:
        depth = len(module.quantizer.sizes)
        example = torch.zeros(_EXAMPLE_ROWS, depth, dtype=torch.int64)
        model = _exported(_Decoder(module), example, "codes", "rows")
    else:
        example = torch.zeros(_EXAMPLE_ROWS, module.n_features)
        model = _exported(_Encoder(module), example, "rows", "codes")
    _remove_stack_traces(model)
    onnx.checker.check_model(model)
    with atomic_write(path) as file:
        file.write(model.SerializeToString())


def _import_onnx() -> Any:
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise ImportError(
            "to_onnx needs onnx and onnxscript: pip install 'sk-rqvae[onnx]'."
        ) from error
    return onnx


def _remove_stack_traces(model: Any) -> None:
    """Remove stack traces, which contain paths of this machine."""
    for graph in (model.graph, *model.functions):
        for part in (graph, *graph.node, *graph.value_info):
            del part.metadata_props[:]
            part.doc_string = ""


def _exported(graph: nn.Module, example: Tensor, name: str, result: str) -> Any:
    """Export a graph for any number of rows.

    Strict export keeps the number of rows as a symbol. The lenient mode would replace
    it by that of the example, and the file would work for this number alone.
    """
    n_rows = torch.export.Dim("n", min=1)
    with warnings.catch_warnings(), torch.no_grad():
        # Warnings of torch's exporter about its own code do not help our callers.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.export.export(
            graph, (example,), dynamic_shapes={name: {0: n_rows}}, strict=True
        )
        exported: Any = torch.onnx.export(
            program.run_decompositions(_DECOMPOSITIONS),
            dynamo=True,
            input_names=[name],
            output_names=[result],
            verbose=False,
        )
    return exported.model_proto
