"""The page: self-contained, escaped, readable without JavaScript."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser

import pytest

from i2vbench.leaderboards.board import Board
from i2vbench.leaderboards.html import to_html

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8
HOSTILE = "<script>alert(1)</script>\"' onmouseover='x <img src=//evil/x> & 🙂"


class Page(HTMLParser):
    """Tags, attributes, and the text of the table's cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.scripts, self._stack = [], [], [], []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._stack.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        while self._stack and self._stack.pop() != tag:
            pass

    def handle_data(self, data):
        if "script" in self._stack:
            self.scripts.append(data)
        elif "style" not in self._stack:
            self.text += data
            if {"td", "th"} & set(self._stack):
                self.rows[-1][-1] += data.strip()

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def test_golden_cells(golden):
    page = Page(to_html(golden))
    cells = {row[1]: row[2:] for row in page.rows if len(row) > 3}
    assert cells["Model"] == ["FVD↓(i3d)", "CLIPSIM↑(tiny-clip)"]
    assert cells["beta"][0].startswith("80.0[70.0, 90.0]64/64 clips")
    assert cells["beta"][1] == "–1"
    assert cells["alpha"][0].startswith("100.0†")
    assert cells["gamma*"][0] == "70.0*[60.0, 80.0]60/64 clips"
    assert "staticbaseline" in cells
    assert "tiny-clip weights are missing" in page.text
    assert "64 clips are few for 400 features" in page.text


def test_best_cells_tooltips_and_bars(golden):
    page = Page(to_html(golden))
    best = [a for a in page.all("td") if a.get("class") == "best"]
    assert [a["data-v"] for a in best] == ["80.0", "0.31"]
    assert best[0]["title"].splitlines() == [
        "FVD(i3d): 80.0",
        "95 % interval [70.0, 90.0]",
        "64 of 64 clips",
        "⚠ 64 clips are few for 400 features",
    ]
    bars = [a["style"] for a in page.all("span") if a.get("class") == "bar"]
    # FVD runs from 0 (reference) to 400 (static).
    assert bars[0] == "--low:17.5%;--high:22.5%;--at:20.0%"


def test_groups_are_bodies_of_their_own(golden):
    page = Page(to_html(golden))
    assert [a["class"] for a in page.all("tbody")] == ["models", "partial", "baselines"]


def test_every_fact_of_a_run_is_on_the_page(make_run):
    model = {"options": {"guidance_scale": 7.5}, "notes": ["the tiny checkpoint was taken"]}
    page = Page(to_html(Board([make_run("a", model=model, seed=31)])))
    for fact in ("guidance_scale = 7.5", "b" * 64, "1,234,567", "31", "c" * 64, "the tiny check"):
        assert fact in page.text


def test_incomparable_tables_say_why(make_run):
    page = Page(to_html(Board([make_run("a"), make_run("b", protocol="paper 2")])))
    assert len(page.all("section")) == 2
    assert "the protocol differs (embedded 1 there, paper 2 here)" in page.text


def test_nothing_is_loaded_from_elsewhere(golden):
    text = to_html(golden, strips=[("a ball", PNG)])
    page = Page(text)
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert "@import" not in text
    assert "url(" not in text
    assert "http://" not in text
    assert "https://" not in text


def test_the_policy_allows_the_one_script(golden):
    page = Page(to_html(golden))
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [a["content"] for a in page.all("meta") if "http-equiv" in a]
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_hostile_names_are_text(make_run, make_score):
    scores = [make_score(value=1.0, label=f"{HOSTILE}(net)", warnings=(HOSTILE,), ci=(0.5, 2.0))]
    missing = [make_score(value=None, reason=HOSTILE, fingerprint="")]
    model = {"notes": [HOSTILE], "options": {HOSTILE: HOSTILE}, "weights": HOSTILE}
    runs = [
        make_run(HOSTILE, scores, model=model, run=HOSTILE, seed=0),
        make_run(HOSTILE, scores, seed=1),
        make_run("b", missing),
        make_run("c", suite={"name": HOSTILE}, protocol=HOSTILE),
    ]
    page = Page(to_html(Board(runs), title=HOSTILE, strips=[(HOSTILE, PNG)]))
    assert len(page.scripts) == 1
    assert len(page.all("script")) == 1
    assert len(page.all("img")) == 1
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert page.text.count(HOSTILE) > 8


def test_strips_are_embedded(golden):
    page = Page(to_html(golden, strips=[("a ball", PNG), ("a box", b"GIF89a....")]))
    sources = [a["src"] for a in page.all("img")]
    assert sources[0] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert sources[1].startswith("data:image/gif;base64,")
    assert [a["alt"] for a in page.all("img")] == ["a ball", "a box"]


def test_strips_are_few_and_pictures(golden):
    with pytest.raises(ValueError, match="at most 6"):
        to_html(golden, strips=[("x", PNG)] * 7)
    with pytest.raises(ValueError, match="not a PNG"):
        to_html(golden, strips=[("x", b"<svg onload=alert(1)>")])
