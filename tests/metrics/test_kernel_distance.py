"""KVD and KID: the peer's number, an unbiased estimate, frames that stay with their clip."""

import numpy as np
import pytest

from i2vbench.metrics.kernel_distance import KID, KVD, kernel_distance

from .rows import examples_of, rows

X, Y = rows(60, 12, 7, 31), rows(60, 12, 11, 5) * 0.7 + 0.2
# torch-fidelity 0.4.0, metric_kid.mmd2 with kernel_poly (degree 3, gamma 1/D, coef0 1), unbiased.
TORCH_FIDELITY = 0.016317562163723487


def test_equals_torch_fidelity():
    assert kernel_distance(X, Y) == pytest.approx(TORCH_FIDELITY, rel=1e-10)
    assert kernel_distance(Y, X) == pytest.approx(TORCH_FIDELITY, rel=1e-10)


def test_blocks_change_nothing(monkeypatch):
    monkeypatch.setattr("i2vbench.metrics.kernel_distance._BLOCK", 7)
    assert kernel_distance(X, Y) == pytest.approx(TORCH_FIDELITY, rel=1e-10)


def test_expectation_does_not_depend_on_the_number_of_rows():
    """The plain mean over all pairs would give 0.5 at 10 rows of equal distributions."""
    rng = np.random.default_rng(0)
    few = [kernel_distance(*rng.standard_normal((2, 10, 4))) for _ in range(2000)]
    assert abs(np.mean(few)) < 4 * np.std(few) / len(few) ** 0.5
    assert min(few) < 0


@pytest.mark.parametrize("metric", [KVD, KID])
def test_the_metric_is_the_distance_whatever_the_order(metric):
    shape = (12, 5, 12) if metric is KID else (60, 12)
    ours = examples_of(metric, X.reshape(shape), Y.reshape(shape))
    whole, first, second = metric(), metric(), metric()
    whole.update(ours)
    first.update(ours[7:])
    second.update(ours[:7])
    first.merge(second)
    expected = TORCH_FIDELITY if metric is KVD else _between_clips()
    assert whole.compute() == pytest.approx(expected, rel=1e-10)
    assert first.compute() == whole.compute()
    low, high = whole.interval(ours, num_resamples=200, seed=0)
    assert low < whole.compute() < high


def _between_clips():
    """The definition on clips of 5 rows, loop by loop, without the pairs of one clip."""

    def mean(x, y, same_clip):
        pairs = [
            (a @ b / 12 + 1) ** 3
            for i, a in enumerate(x)
            for j, b in enumerate(y)
            if same_clip or i // 5 != j // 5
        ]
        return sum(pairs) / len(pairs)

    return mean(X, X, False) + mean(Y, Y, False) - 2 * mean(X, Y, True)


def _frames(rng, num_clips, num_frames=8, size=4):
    """Clips whose frames share most of their direction."""
    base = rng.standard_normal((num_clips, 1, size))
    return base + 0.3 * rng.standard_normal((num_clips, num_frames, size))


@pytest.mark.parametrize("num_clips", [5, 20])
def test_expectation_over_frames_does_not_depend_on_the_number_of_clips(num_clips):
    """Two sets of one distribution: 0. With the pairs of one clip it was 3.7 and 0.93."""
    rng = np.random.default_rng(num_clips)
    values = []
    for _ in range(400):
        metric = KID()
        metric.update(examples_of(KID, _frames(rng, num_clips), _frames(rng, num_clips)))
        values.append(metric.compute())
    assert abs(np.mean(values)) < 3 * np.std(values) / len(values) ** 0.5


def test_pairs_of_takes_are_left_out_as_pairs_of_frames_are():
    takes = rows(24, 12, 7, 31).reshape(8, 3, 12)
    real = rows(8, 12, 11, 5)
    as_takes, as_frames = KVD(), KID()
    for take in range(3):
        as_takes.update(examples_of(KVD, takes[:, take], real, take=take))
    as_frames.update(examples_of(KID, takes, real[:, None]))
    assert as_takes.compute() == pytest.approx(as_frames.compute(), rel=1e-12)


def test_intervals_keep_the_frames_of_a_clip_together():
    """Frames that repeat within a clip are no evidence: the interval is that of the clips."""
    clips = rows(40, 12, 7, 31)
    apart = examples_of(KVD, clips, rows(40, 12, 11, 5))
    together = examples_of(
        KID,
        np.repeat(clips[:, None], 6, axis=1),
        np.repeat(rows(40, 12, 11, 5)[:, None], 6, axis=1),
    )
    widths = [
        np.ptp(metric().interval(examples, num_resamples=400, seed=0))
        for metric, examples in ((KVD, apart), (KID, together))
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


def test_a_second_take_does_not_count_its_reference_again():
    metric = KVD()
    metric.update(examples_of(KVD, X, Y))
    metric.update(examples_of(KVD, X[::-1], Y, take=1))
    assert metric.reference.num_clips == 60
    assert metric.generated.num_clips == 120


def test_the_limit_keeps_the_same_clips_in_any_order():
    ours = examples_of(KID, X.reshape(12, 5, 12), Y.reshape(12, 5, 12))
    forth, back = KID(max_rows=33), KID(max_rows=33)
    forth.update(ours)
    back.update(ours[::-1])
    assert forth.compute() == back.compute()
    assert forth.generated.num_clips == 6
    assert forth.warnings() == [
        "6 of 12 generated clips, chosen by hash, within 33 rows",
        "6 of 12 reference clips, chosen by hash, within 33 rows",
    ]


def test_bad_rows_are_named():
    ours = examples_of(KVD, X, Y)
    X_bad = X.copy()
    X_bad[3, 4] = np.nan
    metric = KVD()
    with pytest.raises(ValueError, match=r"sample 's3' take 0: kvd, generated: 1 of 12 values"):
        metric.update(examples_of(KVD, X_bad, Y))
    metric = KVD()
    metric.update(ours[:1])
    with pytest.raises(ValueError, match="rows of at least 2 samples, got 1"):
        metric.compute()
    with pytest.raises(ValueError, match="was added before"):
        metric.update(ours[:1])
    with pytest.raises(ValueError, match="different numbers of features, 12 and 3"):
        kernel_distance(X, Y[:, :3])
