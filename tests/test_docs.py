"""Statements of the documentation, compared with the package."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from pathlib import Path

import pytest

import sk_rqvae
from sk_rqvae import datasets, metrics, scorers
from sk_rqvae._sklearn.module_parameters import is_own
from sk_rqvae.cli.parameters import GROUPS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md"])
# These train models, for a few seconds each.
TRAINING = {"getting_started", "modes_and_sizes", "scoring_and_search", "training"}
# What these print depends on how the processor rounds in training.
ROUNDED = {"getting_started"}
LARGEST_ROUNDING = 0.005
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class UpToRounding(doctest.OutputChecker):
    """Compares truth values, shapes and shares; of the rest, the number of lines."""

    def check_output(self, want, got, optionflags):
        if want.startswith(("(", "True", "False")):
            return want == got
        wanted, found = (re.findall(r"\b0\.\d+\b", text) for text in (want, got))
        return (
            len(want.splitlines()) == len(got.splitlines())
            and len(wanted) == len(found)
            and all(
                abs(float(one) - float(other)) <= LARGEST_ROUNDING
                for one, other in zip(wanted, found, strict=True)
            )
        )


def blocks(page, language):
    """The fenced blocks of a language, each with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    fences = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, fence.start(1)), fence[1]) for fence in fences]


def names(module):
    prefix = module.__name__.removeprefix("sk_rqvae").removeprefix(".")
    return [f"{prefix}.{name}".removeprefix(".") for name in module.__all__]


with_examples = [
    pytest.param(
        page,
        id=page.stem,
        marks=[pytest.mark.slow] if page.stem in TRAINING else [],
    )
    for page in PAGES
    if blocks(page, "pycon")
]


@pytest.mark.parametrize("page", with_examples)
def test_examples_print_what_the_page_says(page):
    checker = UpToRounding() if page.stem in ROUNDED else doctest.OutputChecker()
    runner = doctest.DocTestRunner(checker, optionflags=OPTIONS)
    parser = doctest.DocTestParser()
    shared = {}
    for line, source in blocks(page, "pycon"):
        example = parser.get_doctest(source, shared, page.name, str(page), line)
        runner.run(example, clear_globs=False)
        shared = example.globs
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_blocks_call_the_package_with_existing_arguments(page):
    for line, source in blocks(page, "python"):
        for node in ast.walk(ast.parse(source, filename=f"{page}, line {line}")):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            called = getattr(sk_rqvae, node.func.id, None)
            if called is not None:
                known = inspect.signature(called).parameters
                given = {keyword.arg for keyword in node.keywords}
                given -= {name for name in given if is_own(name)}
                assert given <= set(known), f"{page.name}, line {line + node.lineno}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_has_a_text(page):
    """Where Sphinx does not fill in a title, one without a text shows nothing."""
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"\[\s*\]\([^)]*\)", text) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_to_a_file_leads_to_one_of_the_repository(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    lost = [link for link in targets if not (page.parent / link).exists()]
    assert lost == []
    assert not [link for link in targets if link.startswith("auto_examples")]  # built


@pytest.mark.parametrize(
    "module", [sk_rqvae, metrics, scorers, datasets], ids=lambda module: module.__name__
)
def test_every_public_name_is_in_the_api_reference(module):
    listed = (DOCS / "api.rst").read_text(encoding="utf-8").split()
    assert set(names(module)) <= set(listed)


def test_the_page_of_parameters_lists_each_one_with_its_default():
    """In the order of the reference and of the command line's help."""
    text = (DOCS / "parameters.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| `?(.*?)`? \|", text, re.MULTILINE))
    signature = inspect.signature(sk_rqvae.RQVAETransformer).parameters
    assert list(listed) == list(signature)
    for name, parameter in signature.items():
        default = parameter.default
        shown = getattr(default, "__name__", default)
        if isinstance(default, float):
            assert float(listed[name]) == default
        else:
            assert listed[name].strip('"') == str(shown)
    assert f"has {len(listed)} parameters" in text
    options = [option.name for group in GROUPS.values() for option in group]
    assert options == [name for name in listed if name in options]


def test_names_on_the_page_for_other_projects_exist():
    text = (DOCS / "coming_from.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| .*? \| (.*?) \|", text, re.MULTILINE)
    assert len(cells) > 90
    parameters = inspect.signature(sk_rqvae.RQVAETransformer).parameters
    known = {"X", "net_", "codebooks_", "policy", "model", "k", *metrics.__all__}
    known |= {*parameters, *dir(sk_rqvae.RQVAETransformer)}
    known |= {*dir(sk_rqvae.SemanticIDIndex)}
    named = {name for cell in cells for name in re.findall(r"`(\w+)[`(]", cell)}
    named |= {name for cell in cells for name in re.findall(r"(\w+)=", cell)}
    assert named - known - {"RQVAETransformer", "SemanticIDIndex"} == set()
