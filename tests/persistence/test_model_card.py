from __future__ import annotations

import re

import numpy as np
import pytest
from conftest import small

from sk_rqvae import RQVAEModule, RQVAETransformer
from sk_rqvae._persistence.model_card import model_card
from sk_rqvae._persistence.pretrained import add_report


@pytest.fixture(scope="module")
def card(fitted):
    return model_card(fitted, None)


def front_matter(text):
    yaml = pytest.importorskip("yaml", reason="the Hub reads the card as YAML")
    return yaml.safe_load(re.match(r"---\n(.*?)---\n", text, re.DOTALL)[1])


def rows_of(text, heading):
    """Cells of the table under a heading."""
    table = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in map(cells_of, lines[2:])}


def cells_of(line):
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_a_card_says_which_library_the_model_is_for(card):
    assert front_matter(card)["library_name"] == "sk_rqvae"
    assert "semantic-ids" in front_matter(card)["tags"]


def test_a_card_lists_every_parameter(card, fitted):
    parameters = rows_of(card, "Parameters")
    assert parameters.keys() == fitted.get_params(deep=False).keys()
    assert parameters["n_layers"] == ["`3`"]
    assert parameters["module"] == ["`RQVAEModule`"]


def test_a_card_shows_the_last_epoch(card, fitted):
    last = rows_of(card, "Last epoch of the training")
    assert last["train_loss"] == [f"{fitted.net_.history[-1]['train_loss']:.4g}"]
    assert last["epoch"] == ["5"]


def test_a_card_shows_a_report_if_it_is_given(fitted, blobs):
    report = fitted.report(blobs)
    text = model_card(fitted, report)
    rows = rows_of(text, "Report")
    assert list(rows) == ["first 1", "first 2", "first 3"]
    assert rows["first 3"][0] == f"{report.explained_variance[-1]:.3f}"
    assert f"{report.n_unique} different IDs for {report.n_items} items." in text
    assert "## Report" not in model_card(fitted, None)


def test_the_code_on_a_card_loads_the_model(fitted, blobs, tmp_path):
    fitted.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    names = {"X": blobs}
    exec(code.replace("folder or user/name", str(tmp_path)), names)
    np.testing.assert_array_equal(names["codes"], fitted.transform(blobs))


class MyModule(RQVAEModule):
    pass


def test_the_code_on_a_card_passes_a_users_module(blobs):
    model = small(max_epochs=1, module=MyModule, random_state=np.random.RandomState(0))
    text = model_card(model.fit(blobs[:60]), None)
    assert 'from_pretrained("folder or user/name", module=MyModule)' in text


def test_no_parameter_can_break_out_of_its_table(blobs):
    model = small(max_epochs=1).fit(blobs[:60])
    model.set_params(random_state="| a `b`\n## c" * 90)
    lines = model_card(model, None).splitlines()
    (line,) = [line for line in lines if "random_state" in line]
    assert len(line) < 200
    assert len(re.findall(r"(?<!\\)\|", line)) == 3


def test_a_card_is_replaced_with_the_model(blobs, fitted, tmp_path):
    fitted.save_pretrained(tmp_path)
    small(max_epochs=1, n_layers=2).fit(blobs[:60]).save_pretrained(tmp_path)
    assert rows_of((tmp_path / "README.md").read_text(), "Parameters")["n_layers"] == [
        "`2`"
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "# My model\n",
        lambda text: "",
        lambda text: text.replace("# Semantic IDs", "# My semantic IDs"),
        lambda text: text + "Licence: mine\n",
        lambda text: text.rstrip("\n"),
        lambda text: "\n" + text,
    ],
)
def test_a_readme_that_a_user_wrote_or_changed_stays(fitted, blobs, tmp_path, change):
    fitted.save_pretrained(tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text(change(readme.read_text()))
    before = readme.read_bytes()
    other = small(max_epochs=1, n_layers=2).fit(blobs[:60])
    other.save_pretrained(tmp_path)
    assert readme.read_bytes() == before
    loaded = RQVAETransformer.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded.transform(blobs), other.transform(blobs))


def test_a_readme_that_is_not_text_stays(fitted, tmp_path):
    (tmp_path / "README.md").write_bytes(b"\xff\xfe")
    fitted.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_bytes() == b"\xff\xfe"


def test_a_report_is_not_added_to_the_card_of_another_model(fitted, blobs, tmp_path):
    fitted.save_pretrained(tmp_path)
    report = fitted.report(blobs)
    other = small(max_epochs=1, random_state=7).fit(blobs)
    other.save_pretrained(tmp_path)
    before = (tmp_path / "README.md").read_text()
    add_report(fitted, tmp_path, report)
    assert (tmp_path / "README.md").read_text() == before
    add_report(other, tmp_path, report)
    assert "## Report" in (tmp_path / "README.md").read_text()
