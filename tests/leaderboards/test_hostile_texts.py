"""No text of a run reaches a board as an escape, a direction mark or a sign without UTF-8."""

from __future__ import annotations

import dataclasses
import unicodedata
from typing import Any

import pytest

from i2vbench.leaderboards.board import Board
from i2vbench.leaderboards.categories import split_by_category
from i2vbench.leaderboards.commands import FORMATS, render, render_all
from i2vbench.leaderboards.formatting import clean
from i2vbench.results import CategoryScore

ESCAPES = {
    "colour": "\x1b[31m",
    "title": "\x1b]0;x\x07",
    "c1": "\x9b2J",
    "override": "\u202e",
    "isolate": "\u2066",
    "arabic mark": "\u061c",
    "line separator": "\u2028",
    "next line": "\x85",
    "surrogate": "\ud800",
    "zero width": "\u200b",
    "tag": "\U000e0041",
    "null": "\0",
}


def spoiled(value: Any, escape: str) -> Any:
    """``value`` with ``escape`` in the middle and at the end of all of its texts, keys included."""
    if isinstance(value, str):
        return f"{value[:1]}{escape}{value[1:]}{escape}"
    if isinstance(value, tuple | list):
        return type(value)(spoiled(item, escape) for item in value)
    if isinstance(value, dict):
        return {key: spoiled(item, escape) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        fields = {
            f.name: spoiled(getattr(value, f.name), escape) for f in dataclasses.fields(value)
        }
        if "level" in fields:
            fields["level"] = value.level
        return type(value)(**fields)
    return value


@pytest.fixture
def runs(make_run, make_score):
    cats = (CategoryScore(category="cats", value=0.3, n_scored=64, n_expected=64),)
    scores = [
        make_score(warnings=("few",)),
        make_score("clipsim", 0.3, label="same", by_category=cats),
        make_score("other", 0.3, label="same"),
        make_score("is", None, reason="none"),
    ]
    changes = {
        "model": {"notes": ["note"], "options": {"key": "text"}},
        "suite": {"samples": ["s1"]},
    }
    again = [make_score(fingerprint="another"), *scores[1:]]
    return [
        make_run("a", scores, **changes),
        make_run("a", again, **changes),
        make_run("b", scores),
    ]


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_every_format_is_clean(runs, escape, tmp_path):
    bad = [spoiled(run, escape) for run in runs]
    board = Board([*bad, *split_by_category(bad)])
    for name in FORMATS:
        text = render(board, name)
        text.encode("utf-8")
        found = {
            s for s in text if s != "\n" and unicodedata.category(s) in {"Cc", "Cf", "Cs", "Zl"}
        }
        assert not found, name
    render_all(bad, tmp_path / "run")
    frame = board.to_dataframe()
    for column in frame.select_dtypes(include=["object", "str"]):
        assert all(clean(text) == text for text in frame[column] if isinstance(text, str)), column


@pytest.mark.parametrize("kept", ["é", "日本", "👩\u200d🚀", "می\u200cخواهم"])
def test_letters_of_all_languages_stay(kept):
    assert clean(kept) == kept


def test_huge_numbers_are_printed_short(make_run, make_score):
    runs = [
        make_run("a", [make_score(value=1e308, ci=(-1e308, 1e308))]),
        make_run("b", [make_score(value=-1e308)]),
        make_run("c", [make_score(value=5e-324)]),
    ]
    board = Board(runs)
    for name in ("text", "md", "latex", "html"):
        text = render(board, name)
        assert "1.000e+308" in text
        assert "0" * 20 not in text
