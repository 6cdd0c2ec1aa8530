"""Make what the landing page shows: the picture of an ID, and the explorer of nouns.

The build of the documentation calls `make`, which trains on the embedded nouns for half
a minute, unless it did so before with the same code. The pictures are two drawings in
SVG that stand side by side, or one above the other where there is less room. They are
part of the page, not images of it, so that their text has the page's colour in light
and in dark. The explorer is a page of its own, which the landing page frames.
"""

from __future__ import annotations

import textwrap
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns
from sk_rqvae.plotting import IDTreeDisplay

PICTURE, EXPLORER = "semantic_ids.html", "explorer.html"
ITEM = "honey cake"
OTHERS = ("canoe", "rainbow trout")
WIDTH = 440
LINE = 19
LETTER = 6.9  # mean width of a letter at the size of the text
COLOURS = ("#3a86c8", "#d9772b", "#2d9d78")  # of the levels
CELLS = 32


class Catalogue(NamedTuple):
    """Nouns, their categories, texts, embeddings and codes."""

    words: NDArray[np.str_]
    kinds: NDArray[np.str_]
    texts: NDArray[np.object_]
    rows: NDArray[np.float32]
    codes: NDArray[np.int64]

    def row_of(self, word: str) -> int:
        return int(np.flatnonzero(self.words == word)[0])

    def sharing(self, word: str, depth: int) -> list[str]:
        """Words with the same first codes, but for the word itself."""
        prefix = self.codes[self.row_of(word), :depth]
        same = (self.codes[:, :depth] == prefix).all(axis=1)
        return [other for other in self.words[same].tolist() if other != word]


def learn() -> Catalogue:
    nouns = load_wordnet_nouns()
    words = np.array([text.split(":")[0].split(",")[0] for text in nouns.text])
    rq = RQVAETransformer(max_epochs=10, random_state=0)
    names = np.array([name.removeprefix("noun.") for name in nouns.target_names])
    kinds = names[nouns.target]
    return Catalogue(words, kinds, nouns.text, nouns.data, rq.fit_transform(nouns.data))


def text(x: float, y: float, content: str, **attributes: str) -> str:
    given = "".join(
        f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items()
    )
    return f'<text x="{x:g}" y="{y:g}"{given}>{escape(content)}</text>'


def box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7" '
        f'fill="{colour}" fill-opacity="0.13" stroke="{colour}" stroke-width="1.5"/>'
    )


def arrow(x: float, y: float, length: float) -> str:
    tip = y + length
    return (
        f'<path d="M{x:g} {y:g}V{tip:g}M{x - 5:g} {tip - 6:g}L{x:g} {tip:g}L'
        f'{x + 5:g} {tip - 6:g}" fill="none" stroke="currentColor" '
        'stroke-width="1.5" stroke-opacity="0.6"/>'
    )


def wrapped(words: list[str], width: float, n_lines: int) -> list[str]:
    """Words in lines of at most `width`; words that do not fit are dropped."""
    lines = textwrap.wrap(
        ", ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words),
        int(width / LETTER),
        break_long_words=False,
        break_on_hyphens=False,
    )
    if len(lines) > n_lines:
        lines = lines[:n_lines]
        lines[-1] = lines[-1].rstrip(",") + " \N{HORIZONTAL ELLIPSIS}"
    return lines


def drawing(title: str, height: float, parts: list[str]) -> str:
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{title}">',
            text(0, 18, title, font_weight="600", font_size="16"),
            *parts,
            "</svg>",
        ]
    )


def becoming(catalogue: Catalogue) -> str:
    """An item, its embedding, its ID."""
    row = catalogue.row_of(ITEM)
    lines = textwrap.wrap(str(catalogue.texts[row]), int((WIDTH - 24) / LETTER))[:2]
    parts = [box(1, 34, WIDTH - 2, 30 + LINE * (len(lines) - 1), "#808080")]
    parts += [text(12, 54 + LINE * k, line) for k, line in enumerate(lines)]
    y = 70 + LINE * (len(lines) - 1)
    parts += [
        arrow(20, y, 26),
        text(
            34,
            y + 18,
            "an encoder of texts, images or clicks",
            opacity="0.75",
        ),
    ]
    y += 36
    values = catalogue.rows[row, :CELLS]
    side = WIDTH / CELLS
    for k, value in enumerate(values / np.abs(values).max()):
        colour = COLOURS[0] if value < 0 else COLOURS[1]
        parts.append(
            f'<rect x="{k * side:.1f}" y="{y:g}" width="{side - 1.5:.1f}" height="20" '
            f'fill="{colour}" fill-opacity="{0.1 + 0.9 * abs(value):.2f}"/>'
        )
    y += 28
    parts += [
        arrow(20, y, 26),
        text(34, y + 18, "RQVAETransformer", font_family="monospace"),
    ]
    y += 38
    names = ("coarse", "finer", "finest")
    width = (WIDTH - 32) / 3
    for level, code in enumerate(catalogue.codes[row].tolist()):
        x = level * (width + 16)
        middle = {"text_anchor": "middle"}
        parts += [
            box(x + 1, y, width - 2, 54, COLOURS[level]),
            text(
                x + width / 2,
                y + 36,
                str(code),
                font_size="26",
                font_weight="600",
                **middle,
            ),
            text(x + width / 2, y + 74, names[level], opacity="0.75", **middle),
        ]
    return drawing("An item gets a short tuple of codes", y + 82, parts)


def nested(catalogue: Catalogue) -> str:
    """Boxes of prefixes in each other, and what is in them."""
    codes = catalogue.codes[catalogue.row_of(ITEM)].tolist()
    inside = catalogue.sharing(ITEM, 2)
    around = [word for word in catalogue.sharing(ITEM, 1) if word not in inside]
    wide, narrow = WIDTH - 2, WIDTH - 26
    outer = wrapped(around, wide - 24, 3)
    inner = wrapped(inside, narrow - 24, 2)
    inner_height = 66 + LINE * len(inner)
    outer_height = 36 + LINE * len(outer) + inner_height + 8
    parts = [box(1, 34, wide, outer_height, COLOURS[0])]
    parts.append(_label(12, 55, f"{codes[0]}, …"))
    parts += [text(12, 76 + LINE * k, line) for k, line in enumerate(outer)]
    y = 68 + LINE * len(outer)
    parts.append(box(13, y, narrow, inner_height, COLOURS[1]))
    parts.append(_label(24, y + 21, f"{codes[0]}, {codes[1]}, …"))
    parts += [text(24, y + 42 + LINE * k, line) for k, line in enumerate(inner)]
    y += 32 + LINE * len(inner)
    parts.append(box(25, y, narrow - 24, 28, COLOURS[2]))
    full_id = ", ".join(map(str, codes))
    parts.append(_label(36, y + 19, full_id))
    parts.append(text(WIDTH - 36, y + 19, ITEM, font_weight="600", text_anchor="end"))
    y = 34 + outer_height + 10
    for word in OTHERS:
        lines = wrapped([word, *catalogue.sharing(word, 1)], wide - 104, 2)
        height = 14 + LINE * len(lines)
        parts.append(box(1, y, wide, height, COLOURS[0]))
        code = catalogue.codes[catalogue.row_of(word), 0]
        parts.append(_label(12, y + 20, f"{code}, …"))
        parts += [text(80, y + 20 + LINE * k, line) for k, line in enumerate(lines)]
        y += height + 10
    return drawing("Items that share a prefix are similar", y, parts)


def _label(x: float, y: float, content: str) -> str:
    return text(x, y, content, font_weight="700")


def picture(catalogue: Catalogue) -> str:
    drawings = [becoming(catalogue), nested(catalogue)]
    return "\n".join(['<div class="semantic-ids">', *drawings, "</div>", ""])


def explorer(catalogue: Catalogue) -> str:
    names = [text.split(":")[0] for text in catalogue.texts]
    display = IDTreeDisplay(codes=catalogue.codes, labels=catalogue.kinds, names=names)
    return display.to_html(title="4000 English nouns")


def make(folder: Path, recipe: str) -> None:
    """Write both files, unless they were made with this recipe.

    Parameters
    ----------
    folder : Path
    recipe : str
        Names the code that decides the codes.
    """
    made_with = folder / "recipe.txt"
    if made_with.exists() and made_with.read_text(encoding="utf-8") == recipe:
        return
    catalogue = learn()
    for name, content in {PICTURE: picture, EXPLORER: explorer}.items():
        (folder / name).write_text(content(catalogue), encoding="utf-8")
    made_with.write_text(recipe, encoding="utf-8")
