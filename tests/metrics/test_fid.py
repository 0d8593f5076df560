"""FID as a metric: every frame is a row, clips stay whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from i2vbench.clip import Clip
from i2vbench.metric import Example
from i2vbench.metrics.frechet import FID, frechet_distance

PIXEL = Clip(frames=np.zeros((1, 1, 1, 3), np.uint8), fps=8)


def examples(num_clips=12, num_frames=4, size=10, spread=0.0, seed=0):
    """Clips whose frames are alike: ``spread`` is what differs within a clip."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(num_clips):
        rows = [
            rng.normal(size=size) + spread * rng.normal(size=(num_frames, size)) for _ in range(2)
        ]
        made.append(
            Example(
                sample_id=f"s{number}",
                take=0,
                clip=PIXEL,
                features={"efficientnet-lite0": {"pooled": rows[0].astype(np.float32)}},
                reference_features={"efficientnet-lite0": {"pooled": rows[1].astype(np.float32)}},
            )
        )
    return made


def rows(clips, side):
    return np.concatenate([getattr(c, side)["efficientnet-lite0"]["pooled"] for c in clips])


def test_every_frame_is_a_row():
    clips = examples(spread=0.5)
    metric = FID()
    metric.update(clips)
    expected = frechet_distance(rows(clips, "features"), rows(clips, "reference_features"))
    assert metric.compute() == pytest.approx(expected, rel=1e-10)
    assert metric.generated.count == 48
    assert metric.spec()["array"] == "pooled"


def test_warning_counts_frames_and_clips():
    clips = examples(num_clips=8, num_frames=2, size=30)
    metric = FID()
    metric.update(clips)
    first, second = metric.warnings()
    assert "16 generated frames of 8 clips for 30 features: the covariance has rank 15" in first
    assert "16 reference frames of 8 clips" in second
    parts = [FID(), FID()]
    parts[0].update(clips[:3])
    parts[1].update(clips[3:])
    parts[0].merge(parts[1])
    assert parts[0].warnings() == [first, second]


def test_interval_resamples_clips_not_frames():
    # Frames that repeat a clip bring no certainty: 8 of them are worth one.
    single = FID().interval(examples(num_clips=30, num_frames=1), num_resamples=150, seed=0)
    copies = examples(num_clips=30, num_frames=1)
    for clip in copies:
        for side in (clip.features, clip.reference_features):
            side["efficientnet-lite0"]["pooled"] = np.repeat(
                side["efficientnet-lite0"]["pooled"], 8, axis=0
            )
    repeated = FID(ddof=0).interval(copies, num_resamples=150, seed=0)
    single = FID(ddof=0).interval(examples(num_clips=30, num_frames=1), num_resamples=150, seed=0)
    assert repeated == pytest.approx(single, rel=1e-6)


def test_clips_of_different_lengths_count_by_frames():
    short = examples(num_clips=6, num_frames=3, spread=1.0)
    long = examples(num_clips=6, num_frames=7, spread=1.0, seed=1)
    clips = short + [replace(each, sample_id=f"long {each.sample_id}") for each in long]
    metric = FID()
    metric.update(clips)
    low, high = metric.interval(clips, num_resamples=50, seed=0)
    assert low < high
    assert metric.generated.count == 60


def test_no_more_resamples_than_it_can_afford(monkeypatch):
    drawn = []

    def count(clips, reference, counts_RC, *, ddof):
        drawn.append(len(counts_RC))
        return np.arange(len(counts_RC), dtype=float)

    monkeypatch.setattr("i2vbench.metrics.frechet.resampled_distances", count)
    FID().interval(examples(), num_resamples=1000, seed=0)
    FID().interval(examples(), num_resamples=20, seed=0)
    assert drawn == [FID.max_resamples + 1, 21]
