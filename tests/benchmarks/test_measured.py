from __future__ import annotations

import ast

import pytest

import measured

TODAY = {"model": "1a2b3c4d5e6f", "index": "6f5e4d3c2b1a"}
TABLE = "| rows | seconds |\n|---|---:|\n| 10 | 0.1 |\n"


def mark(digest, recipe="model"):
    return (
        f"<!-- measured: python benchmarks/speed.py | 25d6f12 | {recipe} {digest} -->"
    )


def page(*parts):
    return "# Speed\n\n" + "\n\n".join(parts) + "\n"


def canonical(source):
    return measured._canonical(ast.parse(source))


def test_a_table_of_the_recipe_needs_no_note():
    text = page(mark(TODAY["model"]), TABLE)
    assert measured.problems(text, TODAY) == []
    assert measured.with_notes(text, TODAY) == text


def test_an_older_table_must_say_so():
    text = page(mark("0123456789ab"), TABLE)
    (problem,) = measured.problems(text, TODAY)
    assert "3: older than the recipe" in problem
    noted = measured.with_notes(text, TODAY)
    assert "*Measured with older defaults, at commit 25d6f12;" in noted
    assert measured.problems(noted, TODAY) == []
    assert measured.with_notes(noted, TODAY) == noted


def test_a_reprinted_table_no_longer_says_that_it_is_older():
    old = measured.with_notes(page(mark("0123456789ab"), TABLE), TODAY)
    new = old.replace("0123456789ab", TODAY["model"])
    (problem,) = measured.problems(new, TODAY)
    assert "says that it is older, but is not" in problem
    expected = page(mark(TODAY["model"]), TABLE)
    assert measured.with_notes(new, TODAY) == expected


def test_figures_of_the_index_have_a_recipe_of_their_own():
    assert measured.problems(page(mark(TODAY["index"], "index"), TABLE), TODAY) == []
    (problem,) = measured.problems(page(mark("1a2b", "tree"), TABLE), TODAY)
    assert "the recipe must be model or index" in problem


@pytest.mark.parametrize("shown", [TABLE, ":::{figure} beams.svg\n:alt: Lines.\n:::"])
def test_tables_of_figures_and_pictures_need_a_mark(shown):
    (problem,) = measured.problems(page(shown), TODAY)
    assert "no line `<!-- measured: ... -->` before this" in problem
    other = page(mark(TODAY["model"]), "Text.", "## Another section", shown)
    assert len(measured.problems(other, TODAY)) == 1


def test_tables_of_words_and_code_need_no_mark():
    words = "| name | meaning |\n|---|---|\n| a | b |\n"
    assert measured.problems(page(words, f"```text\n{TABLE}```"), TODAY) == []


def test_comments_docstrings_and_annotations_do_not_change_a_recipe():
    assert canonical("x = 1  # why\n'''Unit.'''") == canonical("x = 1")
    documented = 'def f(a: int) -> int:\n    """Double."""\n    return 2 * a'
    assert canonical(documented) == canonical("def f(a):\n    return 2*a")
    assert canonical("x = 1") != canonical("x = 2")
    assert canonical("def f(a=1): ...") != canonical("def f(a=2): ...")


def test_the_files_of_the_recipes_exist():
    for patterns in measured.RECIPES.values():
        assert all(list(measured.PACKAGE.glob(pattern)) for pattern in patterns)
    assert all((measured.PACKAGE / path).is_file() for path in measured.IRRELEVANT)


def test_a_program_prints_its_command_and_recipe(monkeypatch):
    script = str(measured.ROOT / "benchmarks" / "quality.py")
    monkeypatch.setattr("sys.argv", [script, "--cases", "heavy tails"])
    (found,) = measured.marks(measured.mark_of_this_run())
    assert found.command == "python benchmarks/quality.py --cases 'heavy tails'"
    assert (found.recipe, found.digest) == ("model", measured.recipe("model"))
