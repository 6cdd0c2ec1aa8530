"""Tell which tables and pictures of the documentation are older than the recipe.

    python benchmarks/measured.py            list them; fail if a page does not say so
    python benchmarks/measured.py --write    make every page say so
    python benchmarks/measured.py --recipe   print today's recipes
    python benchmarks/measured.py --same-as 1a2b3c4d5e6f
                                             today's recipe gives what that one gave

A *recipe* is a hash of the code that decides results: the defaults, and the files of
`RECIPES`. Comments, docstrings and annotations do not count. Beside each table and
picture stands the command that printed it, the commit, and the recipe of that commit:

    <!-- measured: python benchmarks/seconds.py | 25d6f12 | model 1a2b3c4d5e6f -->

Benchmarks print this line themselves. If the recipe has changed since, a line below it
tells the reader; `--write` adds that line and removes it. A refactoring that changes no
result (`python benchmarks/fingerprints.py` prints the same before and after it) needs
no new figures: `--same-as` replaces the old recipe by today's.

In sections of `README.md` and `docs/`, each table with a right-aligned column and each
figure must have such a line before it.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sk_rqvae"
RECIPES = {
    "model": (
        "_defaults.py",
        "_ridge.py",
        "_transformer.py",
        "_model/*.py",
        "_initialization/*.py",
        "_training/*.py",
        "_inference/blocks.py",
    ),
    "index": ("index/**/*.py",),
}
# These look at a training and decide nothing in it.
IRRELEVANT = {
    "_training/callbacks.py",
    "_training/code_usage.py",
    "_training/collapse_warnings.py",
    "_training/out_of_memory.py",
    "_training/settings.py",
}
# Of the estimator, only the parameters' defaults count; the rest of it calls the files.
SIGNATURES_ALONE = {"_transformer.py"}

_MARK = re.compile(r"<!-- measured: (.+?) \| (\S+) \| (\w+) (\w+) -->")
_NOTE = "*Measured with older defaults, at commit {commit}; today's may differ.*"
_NOTE_LINE = re.compile(r"\*Measured with older defaults, at commit .*\*")
_HEADING = re.compile(r"#+ ")
_RIGHT_ALIGNED_RULE = re.compile(r"\|[-:| ]*-:[-:| ]*\|")
_FIGURE = re.compile(r"(:::|```)\{figure\}")
_FENCE = re.compile(r"```|~~~")


class Mark(NamedTuple):
    """What stands beside a table or a picture."""

    line: int
    command: str
    commit: str
    recipe: str
    digest: str


# Recipes


def recipe(name: str) -> str:
    """Hash of the code that decides results.

    Parameters
    ----------
    name : str
        A key of `RECIPES`.
    """
    paths = {path for pattern in RECIPES[name] for path in PACKAGE.glob(pattern)}
    digest = hashlib.sha256()
    for path in sorted(paths):
        place = path.relative_to(PACKAGE).as_posix()
        if place not in IRRELEVANT:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if place in SIGNATURES_ALONE:
                tree = _constructors(tree)
            digest.update(f"{place}\n{_canonical(tree)}\n".encode())
    return digest.hexdigest()[:12]


def mark_of_this_run(name: str = "model") -> str:
    """The line for the program that runs, such as ``python benchmarks/speed.py``."""
    script = Path(sys.argv[0]).resolve()
    if script.is_relative_to(ROOT):
        script = script.relative_to(ROOT)
    command = shlex.join(["python", script.as_posix(), *sys.argv[1:]])
    return f"<!-- measured: {command} | {_commit()} | {name} {recipe(name)} -->"


def _commit() -> str:
    """The commit of the working tree, with a plus if files of it were changed."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _constructors(tree: ast.Module) -> ast.Module:
    """The signatures of the module's classes, which have the defaults."""
    found = [
        method.args
        for each in ast.walk(tree)
        if isinstance(each, ast.ClassDef)
        for method in each.body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__"
    ]
    return ast.Module(body=found, type_ignores=[])  # type: ignore[arg-type]


def _canonical(node: object) -> str:
    """The code of a node, the same in every release of Python.

    `ast.dump` is not: later releases have more fields, and show empty ones differently.
    """
    if isinstance(node, list):
        return f"[{','.join(_canonical(each) for each in node if not is_text(each))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    skipped = {"annotation", "returns", "type_comment", "ctx", "kind", "type_params"}
    fields = [
        f"{name}={_canonical(value)}"
        for name, value in ast.iter_fields(node)
        if name not in skipped and value not in (None, [])
    ]
    return f"{type(node).__name__}({','.join(fields)})"


def is_text(node: object) -> bool:
    """Whether a statement is a string alone: a docstring, or one of a constant."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


# Pages


def marks(text: str) -> list[Mark]:
    """The marks of a page."""
    found = []
    for number, line in enumerate(text.splitlines()):
        match = _MARK.fullmatch(line.strip())
        if match:
            found.append(Mark(number, *match.groups()))
    return found


def problems(text: str, today: dict[str, str]) -> list[str]:
    """What a page must say and does not, each with the number of its line.

    Parameters
    ----------
    text : str
        Markdown.
    today : dict of str to str
        Hash of each recipe.
    """
    lines = text.splitlines()
    found = [
        f"{number + 1}: no line `<!-- measured: ... -->` before this in its section"
        for number in _unmarked(lines)
    ]
    for mark in marks(text):
        noted = _note_after(lines, mark.line) is not None
        if mark.recipe not in today:
            known = " or ".join(today)
            found.append(f"{mark.line + 1}: the recipe must be {known}")
        elif noted != _is_old(mark, today):
            what = "says that it is older, but is not" if noted else "does not say so"
            found.append(f"{mark.line + 1}: older than the recipe: the page {what}")
    return found


def with_notes(text: str, today: dict[str, str]) -> str:
    """The page, which tells what is old."""
    lines = text.splitlines()
    for mark in reversed(marks(text)):
        at = _note_after(lines, mark.line)
        if at is not None:
            del lines[at]
        if _is_old(mark, today):
            lines.insert(mark.line + 1, _NOTE.format(commit=mark.commit))
    return "\n".join([*lines, ""])


def _is_old(mark: Mark, today: dict[str, str]) -> bool:
    return today.get(mark.recipe) != mark.digest


def _note_after(lines: list[str], number: int) -> int | None:
    following = number + 1
    if following < len(lines) and _NOTE_LINE.fullmatch(lines[following]):
        return following
    return None


def _unmarked(lines: list[str]) -> Iterator[int]:
    """Lines with a table of figures, or a picture, that no mark precedes."""
    is_marked, in_code = False, False
    for number, line in enumerate(lines):
        figure = _FIGURE.match(line)
        if _FENCE.match(line) and not figure:
            in_code = not in_code
        if in_code:
            continue
        if _HEADING.match(line):
            is_marked = False
        elif _MARK.fullmatch(line.strip()):
            is_marked = True
        elif (figure or _RIGHT_ALIGNED_RULE.fullmatch(line)) and not is_marked:
            yield number


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


# The program


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="add and remove notes")
    action.add_argument("--recipe", action="store_true", help="print today's recipes")
    action.add_argument("--same-as", metavar="HASH", help="take over its figures")
    arguments = parser.parse_args()
    today = {name: recipe(name) for name in RECIPES}
    if arguments.recipe:
        print(*(f"{name} {digest}" for name, digest in today.items()), sep="\n")
        return 0
    n_problems = 0
    for page in pages():
        before = text = page.read_text(encoding="utf-8")
        if arguments.same_as:
            for name, digest in today.items():
                old = f"| {name} {arguments.same_as} -->"
                text = text.replace(old, f"| {name} {digest} -->")
        if arguments.write or arguments.same_as:
            text = with_notes(text, today)
        if text != before:
            page.write_text(text, encoding="utf-8")
        name = page.relative_to(ROOT)
        for mark in marks(text):
            if _is_old(mark, today):
                print(f"older  {name}:{mark.line + 1}: {mark.command}")
        for problem in problems(text, today):
            n_problems += 1
            print(f"error  {name}:{problem}", file=sys.stderr)
    return min(n_problems, 1)


if __name__ == "__main__":
    sys.exit(main())
