"""Runs made by hand, small enough to rank in one's head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from i2vbench.leaderboards.board import Board
from i2vbench.results import Results, Score

Make = Callable[..., Any]


def score_of(metric: str = "fvd", value: float | None = 100.0, **changes: Any) -> Score:
    """A score of 64 clips; ``ci=`` is short for ``ci95=``."""
    fields: dict[str, Any] = {
        "metric": metric,
        "label": {"fvd": "FVD(i3d)", "clipsim": "CLIPSIM(tiny-clip)"}.get(metric, metric),
        "value": value,
        "higher_is_better": metric != "fvd",
        "unit": "cosine" if metric == "clipsim" else "",
        "level": "set" if metric == "fvd" else "clip",
        "n_scored": 64,
        "n_expected": 64,
        "fingerprint": f"{metric}-fingerprint",
        "ci95": changes.pop("ci", None),
    }
    return Score(**(fields | changes))


def run_of(name: str = "alpha", scores: Sequence[Score] | None = None, **changes: Any) -> Results:
    """A complete run on suite ``playground``; ``suite=`` and ``model=`` update single fields."""
    suite = {
        "name": "playground",
        "version": "1",
        "content_sha256": "a" * 64,
        "num_samples": 64,
        "limit": None,
    }
    model = {
        "name": name,
        "version": "1",
        "weights": "b" * 64,
        "options": {"steps": 10},
        "num_parameters": 1234567,
        "notes": [],
    }
    fields: dict[str, Any] = {
        "run": f"{name}-0123abcd",
        "run_fingerprint": "c" * 64,
        "suite": suite | changes.pop("suite", {}),
        "model": model | changes.pop("model", {}),
        "protocol": "embedded 1",
        "seed": 0,
        "num_takes": 1,
        "counts": {"expected": 64, "ok": 64, "failed": 0},
        "scores": (score_of(),) if scores is None else tuple(scores),
    }
    return Results(**(fields | changes))


@pytest.fixture
def make_score() -> Make:
    """:func:`score_of`."""
    return score_of


@pytest.fixture
def make_run() -> Make:
    """:func:`run_of`."""
    return run_of


@pytest.fixture
def golden() -> Board:
    """Two models, a partial one, both baselines; ranked by FVD: beta 80, alpha 100 tied with it.

    gamma (70) would win but for its failed takes; CLIPSIM never ran for beta.
    """
    missing = score_of("clipsim", None, reason="tiny-clip weights are missing", fingerprint="")
    warned = ("64 clips are few for 400 features",)
    return Board(
        [
            run_of("alpha", [score_of(value=100.0, ci=(85.0, 115.0)), score_of("clipsim", 0.31)]),
            run_of("beta", [score_of(value=80.0, ci=(70.0, 90.0), warnings=warned), missing]),
            run_of(
                "gamma",
                [
                    score_of(value=70.0, ci=(60.0, 80.0), n_scored=60),
                    score_of("clipsim", 0.25, n_scored=60),
                ],
                counts={"expected": 64, "ok": 60, "failed": 4},
            ),
            run_of("static", [score_of(value=400.0), score_of("clipsim", 0.35)]),
            run_of("reference", [score_of(value=0.0), score_of("clipsim", 0.4)]),
        ]
    )
