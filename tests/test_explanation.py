"""Which frames made a score: values whose mean is the score, and the picture of them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from i2vbench.cli import cli
from i2vbench.clip import Clip
from i2vbench.errors import UserError
from i2vbench.explanation import PER_ROW, TILE_PX, Explanation, explain, strip
from i2vbench.generation import generate
from i2vbench.metric import ClipMetric, Example
from i2vbench.model import load_model
from i2vbench.registry import METRICS
from i2vbench.scoring import score
from i2vbench.suites import load_suite

EXPLAINED = [
    "clipsim",
    "lpips_first_frame",
    "lpips_reference",
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "temporal_flickering",
]
RED, GREEN = (207, 34, 46), (26, 127, 55)


def clip_of(seed, num_frames=6):
    coarse = np.random.default_rng(seed).integers(0, 256, (num_frames, 8, 8, 3), dtype=np.uint8)
    return Clip(frames=coarse.repeat(8, 1).repeat(8, 2), fps=8.0)


@pytest.mark.parametrize("name", EXPLAINED)
def test_the_mean_of_the_frame_values_is_the_score(name):
    metric = METRICS.load(name)()
    assert isinstance(metric, ClipMetric)
    clip, reference = clip_of(0), clip_of(1)
    example = Example(
        sample_id="a", take=0, clip=clip, prompt="a red circle moves left",
        first_frame=reference.frames[0], reference=reference,
    )  # fmt: skip
    values = metric.frame_values(example)
    assert values.shape == (6,)
    assert len(set(values[np.isfinite(values)])) > 1
    assert np.nanmean(values) == pytest.approx(metric.score_clip(example), abs=1e-6)


def explained(values, **changes):
    fields = {
        "title": "t", "score": float(np.nanmean(values)), "values": np.array(values),
        "higher_is_better": True, "clip": clip_of(0, len(values)), "first_frame": None,
        "reference": None,
    }  # fmt: skip
    return Explanation(**(fields | changes))


def test_worst_and_best_follow_the_direction():
    values = [np.nan, 0.2, 0.9, 0.5]
    up, down, none = (explained(values, higher_is_better=way) for way in (True, False, None))
    assert (up.worst, up.best) == (1, 2)
    assert (down.worst, down.best) == (2, 1)
    assert (none.worst, none.best) == (None, None)
    assert explained([0.5, 0.5]).worst is None, "no frame is worse than another"


def test_the_strip_frames_worst_and_best_and_shows_what_is_compared_with():
    frames = np.full((10, 16, 16, 3), 255, np.uint8)
    clip = Clip(frames=frames, fps=8.0)
    values = np.linspace(0.0, 1.0, 10)
    given = np.zeros((16, 16, 3), np.uint8)
    plain = strip(explained(values, clip=clip))
    assert plain.width == PER_ROW * (TILE_PX + 8) + 8
    pixels = np.asarray(plain)
    # Frame 0 is the first tile, frame 9 the second one of the second row.
    assert tuple(pixels[44 - 3, 8 + 20]) == RED
    assert tuple(pixels[44 + (TILE_PX + 36) - 3, 8 + (TILE_PX + 8) + 20]) == GREEN
    with_given = np.asarray(strip(explained(values, clip=clip, first_frame=given)))
    assert tuple(with_given[50, 20]) == (0, 0, 0)
    assert strip(explained(values, clip=clip, reference=clip)).height > plain.height


def test_the_command_writes_the_picture_and_says_what_cannot_be_explained(tmp_path, monkeypatch):
    from click.testing import CliRunner

    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return CliRunner().invoke(cli, [*map(str, arguments)])

    made = call(
        "run", "--model", "reference", "--suite", "playground", "--limit", 2, "--metrics",
        "temporal_flickering", "--output-dir", tmp_path / "runs", "--quiet",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    (run,) = (tmp_path / "runs" / "playground").glob("reference-*")
    done = call("explain", run, "temporal_flickering", "scene-000")
    assert done.exit_code == 0, done.output
    assert "worst frame" in done.output
    with Image.open(tmp_path / "temporal_flickering-scene-000-0.png") as picture:
        assert picture.width > TILE_PX
    for arguments, message in (
        (("fvd", "scene-000"), "'scene-000' take 0 has no FVD(i3d-k400) in this run; score"),
        (("motion_following", "scene-000"), "has no value per frame"),
        (("temporal_flickering", "scene-00"), "did you mean 'scene-00"),
    ):
        refused = call("explain", run, *arguments)
        assert refused.exit_code != 0
        assert message in f"{refused.output}{refused.exception}"

    board = call("leaderboard", run, "--by-category")
    assert board.exit_code == 0, board.output
    assert "playground / " in board.output


@pytest.mark.bf16
def test_a_set_metric_is_explained_by_what_it_is_without_the_clip(tmp_path):
    suite = load_suite("playground")
    runs = [
        generate(load_model("static"), suite, tmp_path / f"{limit}", limit=limit)
        for limit in (3, 2)
    ]
    (of_three,), (of_two,) = (score(run, metrics=["fid"], dtype="bf16").scores for run in runs)
    with pytest.raises(UserError, match="give the --scoring-dtype"):
        explain(runs[0].path, "fid", "scene-002")
    last = explain(runs[0].path, "fid", "scene-002", dtype="bf16")
    assert last.score == of_three.value
    assert last.without == pytest.approx(of_two.value, rel=1e-9)
    assert np.isnan(last.values).all()
    assert (last.worst, last.best) == (None, None)
    change = last.score - last.without
    assert abs(change) > 1e-3
    assert last.verdict.endswith("worsens it" if change > 0 else "improves it")
    assert strip(last).height > 2 * TILE_PX, "the real clip stands under it"
