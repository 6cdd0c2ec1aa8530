"""``sk-rqvae completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from sk_rqvae.cli.grouped_command import DescribedArgument, GroupedCommand
from sk_rqvae.cli.standard_streams import write_out
from sk_rqvae.cli.terminal import PROGRAM

COMPLETE_VARIABLE = "_SK_RQVAE_COMPLETE"
_SHELLS = ("bash", "fish", "zsh")
_EXAMPLES = (
    'eval "$(sk-rqvae completion bash)"          now; in ~/.bashrc, always',
    "sk-rqvae completion fish > ~/.config/fish/completions/sk-rqvae.fish",
)


@click.command(
    "completion",
    cls=GroupedCommand,
    examples=_EXAMPLES,
    short_help="Print a script that completes commands in a shell.",
)
@click.argument(
    "shell",
    metavar="SHELL",
    type=click.Choice(_SHELLS),
    cls=DescribedArgument,
    description="bash, fish or zsh.",
)
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that lets a shell complete commands, options and files."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    script = kind(ctx.find_root().command, {}, PROGRAM, COMPLETE_VARIABLE).source()
    write_out(f"{script}\n")
