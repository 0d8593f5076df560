"""What README imports from here works, and costs nothing before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import i2vbench.leaderboards
import i2vbench.models.consisti2v
from i2vbench.leaderboards import Board
from i2vbench.leaderboards.commands import render
from i2vbench.models.consisti2v import ConsistI2VPipeline, ConsistI2VUNet


def test_methods_are_the_formats(golden):
    assert golden.to_text() == render(golden, "text")
    assert golden.to_markdown() == render(golden, "md")
    assert golden.to_markdown(title="Mine").startswith("# Mine")
    assert golden.to_csv() == render(golden, "csv")
    assert golden.to_html() == render(golden, "html")
    assert golden.to_latex() == render(golden, "latex")
    assert golden.to_json() == render(golden, "json")
    assert max(map(len, golden.to_text(width=60).splitlines())) <= 60


def test_names_are_those_of_their_modules():
    from i2vbench.leaderboards import board
    from i2vbench.models.consisti2v import pipeline, unet

    assert Board is board.Board
    assert ConsistI2VPipeline is pipeline.ConsistI2VPipeline
    assert ConsistI2VUNet is unet.ConsistI2VUNet


@pytest.mark.parametrize("module", [i2vbench.leaderboards, i2vbench.models.consisti2v])
def test_other_names_are_attribute_errors(module):
    with pytest.raises(AttributeError, match="has no attribute 'Bord'"):
        _ = module.Bord
    for name in module.__all__:
        assert getattr(module, name)


def test_the_packages_import_nothing_heavy():
    code = (
        "import sys, i2vbench.leaderboards, i2vbench.models.consisti2v;"
        "from i2vbench.leaderboards import Board;"
        "print([m for m in ('torch', 'numpy', 'pandas', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
