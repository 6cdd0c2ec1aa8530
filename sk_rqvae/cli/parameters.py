"""The parameters of the transformer that `fit` takes as options.

They are listed here rather than read from the class, so that the help does not wait for
torch. A test compares the list with the class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import click

from sk_rqvae.cli.grouped_command import GroupedOption
from sk_rqvae.cli.parameter_types import ListOf, OneOf

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Python objects; a table of epochs that belongs to an interactive session; what needs
# an earlier model.
NOT_OPTIONS = ("callbacks", "module", "verbose", "warm_start")

_INT = OneOf(int)
_NUMBER = OneOf(float)
_NUMBER_OR_NONE = OneOf(float, {"none": None})
_INT_OR_NONE = OneOf(int, {"none": None})
_FLAG = click.BOOL


def _names(*names: str) -> OneOf:
    return OneOf(None, {name: name for name in names})


class Parameter(NamedTuple):
    """One option.

    Attributes
    ----------
    name : str
        The transformer's name for it.
    kind : ParamType
    default : str
        The default as a user would type it, or what it does.
    text : str
        One sentence.
    """

    name: str
    kind: Any
    default: str
    text: str


GROUPS: dict[str, tuple[Parameter, ...]] = {
    "Quantizer": (
        Parameter("n_layers", _INT, "3", "Number of levels: the codes of an ID."),
        Parameter(
            "codebook_size",
            ListOf(_INT, one_is_no_list=True),
            "256",
            "Codes of a level; several numbers give each level its own.",
        ),
        Parameter(
            "codebook_mode",
            ListOf(
                _names("gumbel_softmax", "rotation_trick", "sinkhorn", "ste"),
                one_is_no_list=True,
            ),
            "ste",
            "Gradient estimator: gumbel_softmax, rotation_trick, sinkhorn or ste; "
            "several names give each level its own.",
        ),
        Parameter(
            "codebook_kmeans_init",
            _FLAG,
            "yes",
            "Initialise codebooks by k-means on residuals.",
        ),
        Parameter(
            "codebook_normalize",
            _FLAG,
            "no",
            "Keep latents and codes on the unit sphere.",
        ),
        Parameter(
            "codebook_sim_vq",
            _FLAG,
            "no",
            "Freeze codebooks and learn a linear map behind each (SimVQ).",
        ),
        Parameter(
            "restart_dead_codes",
            _FLAG,
            "yes",
            "Replace unused codes by residuals of random rows after each epoch.",
        ),
        Parameter(
            "init_sample_size",
            _INT,
            "32768",
            "Random rows that initialise PCA and codebooks.",
        ),
    ),
    "Model": (
        Parameter(
            "embed_dim",
            _INT_OR_NONE,
            "none",
            "Width of the quantised latents; none derives it from the data.",
        ),
        Parameter(
            "hidden_dims",
            ListOf(_INT),
            "64",
            "Widths of the encoder's hidden layers; --hidden-dims= is none.",
        ),
        Parameter(
            "decoder_hidden_dims",
            ListOf(_INT, none=True),
            "none",
            "Widths of the decoder's hidden layers, then without experts; none follows "
            "hidden_dims.",
        ),
        Parameter(
            "n_experts",
            _INT_OR_NONE,
            "none",
            "Experts of the decoder, of which an ID uses one; none is up to 64, or 0.",
        ),
        Parameter(
            "activation",
            _names("elu", "gelu", "leaky_relu", "relu", "silu", "tanh"),
            "relu",
            "Activation function: elu, gelu, leaky_relu, relu, silu or tanh.",
        ),
        Parameter("dropout", _NUMBER, "0", "Dropout rate of hidden units, in [0, 1)."),
        Parameter(
            "linear_path",
            _FLAG,
            "yes",
            "Add linear maps, initialised by PCA, to encoder and decoder.",
        ),
        Parameter(
            "n_cat_features",
            _INT,
            "0",
            "Number of binary columns at the end of each row.",
        ),
    ),
    "Loss": (
        Parameter(
            "commitment_weight", _NUMBER, "0.5", "Weight of the commitment loss."
        ),
        Parameter(
            "noise",
            _NUMBER,
            "1",
            "Standard deviation of the input noise, relative to the initial "
            "quantisation error.",
        ),
        Parameter(
            "affinity_weight",
            _NUMBER,
            "1",
            "Variance of the behaviour in --affinity, relative to that of the rows.",
        ),
    ),
    "Search": (
        Parameter("n_beams", _INT, "5", "Beams of the search for codes; 1 is greedy."),
        Parameter(
            "rerank",
            OneOf(None, {"yes": True, "no": False}),
            "yes",
            "Decode several candidates and choose the one of lowest error.",
        ),
        Parameter(
            "separate_ids",
            OneOf(None, {"auto": "auto", "yes": True, "no": False}),
            "auto",
            "Give rows that share an ID different ones; auto limits the added error.",
        ),
    ),
    "Training": (
        Parameter(
            "random_state", _INT_OR_NONE, "none", "Seed that makes a fit repeatable."
        ),
        Parameter(
            "max_epochs",
            _INT_OR_NONE,
            "none",
            "Passes over the rows; none chooses, up to 150.",
        ),
        Parameter("batch_size", _INT, "1024", "Rows per optimizer step, at most."),
        Parameter("lr", _NUMBER, "0.004", "Peak learning rate of AdamW."),
        Parameter(
            "weight_decay",
            _NUMBER_OR_NONE,
            "none",
            "Weight decay of the MLPs and experts; none chooses by the steps.",
        ),
        Parameter(
            "lr_schedule",
            _names("constant", "cosine"),
            "cosine",
            "Schedule of the learning rate after the warm-up.",
        ),
        Parameter(
            "warmup_epochs", _INT, "2", "Epochs in which the learning rate rises."
        ),
        Parameter(
            "early_stopping",
            _FLAG,
            "no",
            "Stop when rows that are held out no longer improve.",
        ),
        Parameter(
            "validation_fraction",
            _NUMBER,
            "0.1",
            "Share of the rows held out for early stopping, in (0, 1).",
        ),
        Parameter(
            "n_iter_no_change",
            _INT,
            "10",
            "Epochs without improvement before early stopping.",
        ),
    ),
    "Resources": (
        Parameter("device", click.STRING, "auto", "auto, cpu, cuda or cuda:N."),
        Parameter(
            "mixed_precision",
            _names("auto", "bf16", "no"),
            "auto",
            "Train encoder and decoder in bfloat16; auto does where it is fast.",
        ),
        Parameter(
            "resident_mb",
            OneOf(float, {"auto": "auto"}),
            "auto",
            "Largest matrix in MiB that is copied to the device; others are streamed.",
        ),
    ),
}
PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter for group in GROUPS.values() for parameter in group
}


def parameter_options(function: _Function) -> _Function:
    """Add an option for every parameter, in groups."""
    # Options are listed in reverse order of their decorators.
    for title, group in reversed(GROUPS.items()):
        for parameter in reversed(group):
            function = _option(parameter, title)(function)
    return function


def given_parameters(ctx: click.Context) -> dict[str, Any]:
    """The parameters that the command line or the settings file gives a value."""
    source = click.core.ParameterSource
    given = (source.COMMANDLINE, source.DEFAULT_MAP)
    return {
        name: ctx.params[name]
        for name in PARAMETERS
        if ctx.get_parameter_source(name) in given
    }


def option_name(parameter: str) -> str:
    """The option of a parameter.

    Examples
    --------
    >>> option_name("n_layers")
    '--n-layers'
    """
    return f"--{parameter.replace('_', '-')}"


def _option(parameter: Parameter, group: str) -> Callable[[_Function], _Function]:
    name = option_name(parameter.name)
    if parameter.kind is _FLAG:
        declarations: list[str] = [f"{name}/--no{name[1:]}"]
        kind: dict[str, Any] = {"default": None}
    else:
        declarations, kind = [name], {"type": parameter.kind}
    return click.option(
        *declarations,
        parameter.name,
        cls=GroupedOption,
        group=group,
        help=f"{parameter.text}  [{parameter.default}]",
        **kind,
    )
