"""The ablation's table: intervals by hand, and what it says about the order."""

import json

import pytest

from i2vbench.errors import UserError
from i2vbench.leaderboards.ablation import Mean, render_ablation

LABELS = (
    "ConsistI2V",
    "w/o FrameInit",
    "w/o FrameInit & TempCond",
    "w/o FrameInit & TempCond & SpatialCond",
)


def _write(folder, values):
    rows = [
        {"group": "table3", "label": label, "network": "", "options": {}, "scores": {"fvd": fvd}}
        for label, fvd in zip(LABELS, values, strict=True)
    ]
    rows.append({**rows[0], "group": "noise_level", "label": "a|b <i>"})
    content = {
        "schema_version": 1,
        "suite": "playground",
        "limit": 64,
        "steps": 10,
        "metrics": ["fvd"],
        "rows": rows,
    }
    file = folder / "ablation.json"
    file.write_text(json.dumps(content))
    return file


def _verdicts(text):
    lines = [line for line in text.splitlines() if line.count("|") == 5]
    return [line.split("|")[4].strip() for line in lines[2:]]


def test_the_interval_is_students():
    mean = Mean.of([10.0, 12.0, 14.0])
    assert mean.value == 12.0
    # t(0.975, 2) = 4.3027; s = 2.
    assert mean.half_width == pytest.approx(4.3027 * 2 / 3**0.5, rel=1e-4)
    assert str(mean) == "12 ± 5"
    assert str(Mean.of([1571.4, 1580.2])) == "1576 ± 56"
    assert Mean.of([1.0, None]) is None
    assert Mean.of([]) is None
    assert str(Mean.of([3.0])) == "3"


def test_the_order_of_the_paper(tmp_path):
    text = render_ablation(
        _write(tmp_path, [[100, 101, 102], [200, 201, 202], [150, 151, 152], [400, 401, 402]])
    )
    assert _verdicts(text) == ["yes: 3 of 3 pairs, 3 of them apart"] * 4
    for printed in ("177.66", "245.79", "224.16", "704.48"):
        assert printed in text
    assert (tmp_path / "ablation.md").read_text() == text


def test_another_order_is_reported_as_it_is(tmp_path):
    """The two in the middle change places, and the last is not to be told from its neighbour."""
    text = render_ablation(
        _write(tmp_path, [[100, 101, 102], [150, 151, 152], [200, 201, 202], [202, 204, 210]])
    )
    assert _verdicts(text) == [
        "yes: 3 of 3 pairs, 3 of them apart",
        "in part: 2 of 3 pairs, 2 of them apart",
        "in part: 2 of 3 pairs, 1 of them apart",
        "yes: 3 of 3 pairs, 2 of them apart",
    ]


def test_pairs_are_compared_seed_by_seed(tmp_path):
    """What the seeds share does not hide a difference that every one of them shows."""
    text = render_ablation(
        _write(tmp_path, [[100, 200, 300], [130, 231, 332], [110, 211, 309], [500, 90, 800]])
    )
    assert _verdicts(text) == [
        "yes: 3 of 3 pairs, 2 of them apart",
        "yes: 3 of 3 pairs, 2 of them apart",
        "yes: 3 of 3 pairs, 2 of them apart",
        "yes: 3 of 3 pairs, 0 of them apart",
    ]
    values = [line.split("|")[2].strip() for line in text.splitlines() if line.count("|") == 5]
    assert [value.endswith(r"\*") for value in values[2:]] == [False, True, True, False]


def test_a_single_seed_sets_nothing_apart(tmp_path):
    text = render_ablation(_write(tmp_path, [[100], [200], [150], [400]]))
    assert _verdicts(text) == ["yes: 3 of 3 pairs, 0 of them apart"] * 4
    assert r"400\*" not in text


def test_a_missing_value_is_not_filled_in(tmp_path):
    text = render_ablation(
        _write(tmp_path, [[100, None, 102], [150, 151, 152], [120, 121, 122], [300, 301, 302]])
    )
    assert _verdicts(text)[0] == "not known"
    assert _verdicts(text)[3] == "in part: 2 of 3 pairs, 2 of them apart"


def test_labels_are_escaped(tmp_path):
    text = render_ablation(_write(tmp_path, [[1, 2, 3]] * 4))
    assert "<i>" not in text
    assert "a\\|b" in text


def test_no_ablation_is_one_line(tmp_path):
    with pytest.raises(UserError, match="is no ablation"):
        render_ablation(tmp_path / "ablation.json")
    (tmp_path / "ablation.json").write_text('{"schema_version": 9}')
    with pytest.raises(UserError, match="schema_version 9, accepted: 1"):
        render_ablation(tmp_path / "ablation.json")
