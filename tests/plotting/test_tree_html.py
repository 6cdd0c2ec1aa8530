from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sk_rqvae.plotting import IDTreeDisplay

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "{{script}} {{title}}",
    "<!-- <script>",
    "a\x1b[31m\nb\ud800",
    "Ünïcödé & 日本",
]


def page(codes, **options):
    return IDTreeDisplay(codes=codes, **options).to_html()


def items_of(content):
    """The items that the script of the page reads."""
    return json.loads(re.search(r'id="data">(.*)</script>', content)[1])


class Elements(HTMLParser):
    """The elements of a page, and its title."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.addresses = [], []
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attributes if name in ("src", "href")
        ]


@given(arrays(np.int64, (12, 3), elements=st.integers(0, 3)))
def test_the_page_has_every_item_sorted_by_id(codes):
    names = [f"name {row}" for row in range(12)]
    items = items_of(page(codes, names=names))
    rows = items["rows"]
    assert sorted(rows) == list(range(12))
    assert items["names"] == [names[row] for row in rows]
    ids = list(zip(*items["codes"], strict=True))
    assert ids == [tuple(codes[row]) for row in rows] == sorted(ids)


def test_labels_are_majorities_or_means():
    codes = [[1], [0], [2]]
    items = items_of(page(codes, labels=["b", "a", "b"]))
    assert [items["labelNames"][label] for label in items["labels"]] == ["a", "b", "b"]
    items = items_of(page(codes, labels=[0.5, 1 / 3, 12345.0]))
    assert items["values"] == [0.3333333, 0.5, 12345.0]
    assert "labels" not in items


def test_the_largest_label_is_a_number_of_the_page():
    largest = sys.float_info.max
    assert items_of(page([[0]], labels=[largest]))["values"] == [pytest.approx(largest)]


def test_names_in_a_series_belong_to_items_by_position_on_the_page():
    names = pd.Series(["ant", "bee", "cat"], index=[2, 1, 0])
    assert items_of(page([[0], [1], [2]], names=names))["names"] == [
        "ant",
        "bee",
        "cat",
    ]


def test_texts_cannot_become_elements():
    codes = np.zeros((len(HOSTILE), 2), dtype=int)
    content = IDTreeDisplay(codes=codes, names=HOSTILE, labels=HOSTILE).to_html(
        title=HOSTILE[0]
    )
    harmless = page(codes, names=["a"] * len(HOSTILE))
    assert Elements(content).tags == Elements(harmless).tags
    content.encode("utf-8")
    names = items_of(content)["names"]
    assert names[:4] == HOSTILE[:4]
    assert names[4:] == ["a [31m b\N{REPLACEMENT CHARACTER}", HOSTILE[5]]


def test_the_page_loads_nothing_from_elsewhere():
    content = page([[0]])
    assert Elements(content).addresses == []
    assert "default-src 'none'" in content
    assert "http://" not in content
    assert "https://" not in content


def test_the_page_needs_no_matplotlib(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert items_of(page([[0, 1]], names=["a"]))["names"] == ["a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["a"]}, "names and codes must have the same number"),
        ({"labels": ["a"]}, "labels and codes must have the same number"),
        ({"labels": [0.0, np.nan]}, "labels must not be missing"),
        ({"labels": [0.0, np.inf]}, "labels must be finite"),
        ({"codes": [[0.5], [1]]}, "codes must be whole numbers"),
    ],
)
def test_the_page_names_the_invalid_argument(options, message):
    with pytest.raises(ValueError, match=message):
        page(**({"codes": [[0], [1]]} | options))


# In a browser


def run_in_browser(folder, content, script, *, width=1280):
    """Run statements after the script of the page; return what they report."""
    last = "<script>(async () => {const wait = (ms) => new Promise((done) => "
    last += f"setTimeout(done, ms)); const report = {{}}; {script}; "
    last += "const out = document.createElement('output'); out.textContent = "
    last += "JSON.stringify(report); document.body.append(out)})()</script></body>"
    path = folder / "tree.html"
    path.write_text(content.replace("</body>", last), encoding="utf-8")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},800",
        "--virtual-time-budget=20000",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(html.unescape(re.search("<output>(.*)</output>", done.stdout)[1]))


in_browser = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 500])
def test_clicking_and_searching_find_prefixes_and_items(tmp_path, width):
    codes = [[0, 1], [0, 2], [0, 2], [5, 1]]
    names = ["bonbon", "caramel apple", "Apple pie", "plank"]
    script = """
        const texts = (query) =>
            [...document.querySelectorAll(query)].map((found) => found.textContent);
        document.querySelector(".column .row").click();
        report.afterClick = texts(".items .row > span:first-child");
        report.address = location.hash;
        const search = document.getElementById("search");
        search.value = "apple";
        search.dispatchEvent(new Event("input"));
        await wait(500);
        report.found = texts(".row > span:first-child");
        document.querySelectorAll(".row")[1].click();
        report.path = texts("#path button");
        report.marked = texts(".row.found > span:first-child");
        search.value = "5-1";
        search.dispatchEvent(new Event("input"));
        await wait(500);
        report.prefix = texts(".row > span:first-child");
        report.overflow = document.documentElement.scrollWidth - window.innerWidth
    """
    report = run_in_browser(tmp_path, page(codes, names=names), script, width=width)
    assert report == {
        "afterClick": ["bonbon", "caramel apple", "Apple pie"],
        "address": "#0",
        "found": ["caramel apple", "Apple pie"],
        "path": ["All items", "0", "2"],
        "marked": ["Apple pie"],
        "prefix": ["Prefix 5-1"],
        "overflow": 0,
    }


@in_browser
@pytest.mark.slow
def test_a_large_tree_creates_only_the_rows_in_view(tmp_path):
    codes = np.random.default_rng(0).integers(0, 256, size=(100_000, 3))
    names = [f"product {number}" for number in range(len(codes))]
    script = """
        const count = () => document.querySelectorAll(".row").length;
        report.first = count();
        const list = document.querySelector(".items .list");
        list.scrollTop = list.scrollHeight;
        // Without a screen, the browser sends no scroll events by itself.
        list.dispatchEvent(new Event("scroll"));
        report.scrolled = count();
        report.last = list.querySelector(".row:last-child").textContent
    """
    report = run_in_browser(tmp_path, page(codes, names=names), script)
    assert 10 < report["first"] < 200
    assert 10 < report["scrolled"] < 200
    last = np.lexsort(codes.T[::-1])[-1]
    assert report["last"].startswith(f"product {last}")


@in_browser
@pytest.mark.slow
def test_hostile_names_run_no_script(tmp_path):
    names = [name for name in HOSTILE if "\ud800" not in name]
    codes = np.zeros((len(names), 2), dtype=int)
    content = page(codes, names=names, labels=names)
    script = """
        report.images = document.images.length;
        report.names = [...document.querySelectorAll(".items .row > span:first-child")]
            .map((found) => found.textContent)
    """
    report = run_in_browser(
        tmp_path,
        content.replace(
            '"use strict";', '"use strict"; window.alert = () => {throw 1};'
        ),
        script,
    )
    assert report == {"images": 0, "names": names}


def test_codes_that_a_browser_cannot_count_are_refused():
    IDTreeDisplay(codes=[[2**53 - 1]]).to_html()
    with pytest.raises(ValueError, match=r"below 2\*\*53 .* Got 9007199254740992"):
        IDTreeDisplay(codes=[[2**53]]).to_html()


def test_names_that_can_be_read_once_only_are_refused():
    display = IDTreeDisplay(codes=[[0], [1]], names=map(str, [1, 2]))
    with pytest.raises(TypeError, match="names must be a sequence of strings"):
        display.to_html()
