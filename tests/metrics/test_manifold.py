"""Precision, recall, density, coverage: the peer's numbers, and what each is blind to."""

import numpy as np
import pytest

from i2vbench.metrics.manifold import Coverage, Density, Precision, Recall, manifolds

from .rows import examples_of, rows

X, Y = rows(60, 12, 7, 31), rows(60, 12, 11, 5) * 0.7 + 0.2
# prdc 0.2, compute_prdc(real, fake, k): real, fake, k, then precision, recall, density, coverage.
PRDC = [
    (X, Y, 3, (1.0, 0.45, 2.8, 1.0)),
    (X, Y, 5, (1.0, 28 / 60, 2.9, 1.0)),
    (Y[:40], X, 3, (25 / 60, 1.0, 0.18888888888888888, 0.5)),
    (Y[:40], X, 5, (29 / 60, 1.0, 0.14333333333333334, 0.55)),
]
METRICS = (Precision, Recall, Density, Coverage)


def means(parts):
    return tuple(float(getattr(parts, metric.part).mean()) for metric in METRICS)


@pytest.mark.parametrize(("real", "fake", "k", "expected"), PRDC)
@pytest.mark.parametrize("block", [7, 1024])
def test_equals_prdc(monkeypatch, real, fake, k, expected, block):
    monkeypatch.setattr("i2vbench.metrics.manifold._BLOCK", block)
    assert means(manifolds(real, fake, k=k)) == pytest.approx(expected, abs=1e-12)


def test_a_far_origin_loses_no_digits():
    assert means(manifolds(X + 1e7, Y + 1e7)) == means(manifolds(X, Y))


def test_one_mode_is_precise_and_forgetful():
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.standard_normal((50, 3)), 50 + rng.standard_normal((50, 3))])
    precision, recall, density, coverage = means(
        manifolds(real, 0.5 * rng.standard_normal((100, 3)))
    )
    assert precision > 0.9
    assert density > 1
    assert recall < 0.5
    assert coverage <= 0.5


@pytest.mark.parametrize("metric", METRICS)
def test_metrics(metric):
    ours = examples_of(metric, Y, X)
    whole, first, second = metric(), metric(), metric()
    whole.update(ours)
    first.update(ours[40:])
    second.update(ours[:40])
    first.merge(second)
    expected = dict(zip(METRICS, PRDC[1][3], strict=True))[metric]
    assert whole.compute() == first.compute() == pytest.approx(expected, abs=1e-12)
    interval = whole.interval(ours, num_resamples=100, seed=0)
    if metric in (Recall, Coverage):
        assert interval is None
    else:
        assert interval[0] <= whole.compute() <= interval[1]
    assert "60 clips" in whole.warnings()[0]
    assert metric(k=3).spec() != whole.spec()


def test_too_few_rows():
    with pytest.raises(ValueError, match=r"generated: more than k=5 >= 1 rows"):
        manifolds(X, Y[:5])
    with pytest.raises(ValueError, match="features, 12 and 2"):
        manifolds(X, Y[:, :2])
