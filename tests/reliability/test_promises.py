from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "promises.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not installed")
def test_every_test_that_a_promise_names_exists():
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    texts = [path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py")]
    existing = {name for text in texts for name in re.findall(r"def (test_\w+)", text)}
    assert len(named) > 30
    assert sorted(named - existing) == []
