"""Who is best, tied and ranked, on columns small enough to judge by eye."""

import pytest

from i2vbench.leaderboards.ranking import Entrant, ranks, standings


def entrant(value, interval=None, *, text=None, is_model=True, is_complete=True):
    return Entrant(
        value=value,
        text=f"{value:.1f}" if text is None and value is not None else text or "–",
        interval=interval,
        is_model=is_model,
        is_complete=is_complete,
    )


def test_intervals_that_touch_overlap():
    best, touching = entrant(5.0, (4.0, 6.0)), entrant(7.0, (6.0, 8.0))
    apart = entrant(7.5, (6.1, 8.0))
    assert standings([best, touching, apart], False) == ["best", "tied", ""]
    turned = [entrant(5.0, (4.0, 6.0)), entrant(3.0, (2.0, 4.0)), entrant(2.0, (1.0, 3.9))]
    assert standings(turned, True) == ["best", "tied", ""]


def test_the_tie_is_with_any_of_the_best():
    """Two print as 5.0; only the second one's interval reaches the third."""
    column = [
        entrant(4.96, (4.9, 5.0)),
        entrant(5.04, (4.0, 6.0)),
        entrant(5.5, (5.5, 7.0)),
        entrant(9.0, (8.0, 10.0)),
    ]
    assert standings(column, False) == ["best", "best", "tied", ""]
    assert ranks(column, False) == [1, 1, 3, 4]


def test_without_an_interval_nobody_is_tied():
    assert standings([entrant(1.0, (0.0, 9.0)), entrant(2.0)], False) == ["best", ""]
    assert standings([entrant(1.0), entrant(2.0, (0.0, 9.0))], False) == ["best", ""]


@pytest.mark.parametrize("higher", [True, False, None])
def test_one_model_has_nothing_to_be_first_of(higher):
    column = [entrant(1.0), entrant(2.0, is_model=False), entrant(None)]
    assert standings(column, higher) == ["", "", ""]
    assert ranks(column, higher) == [None] * 3


def test_where_neither_end_is_better_nobody_wins():
    assert standings([entrant(1.0), entrant(2.0)], None) == ["", ""]
    assert ranks([entrant(1.0), entrant(2.0)], None) == [None, None]


def test_two_partial_models_contest_but_neither_wins():
    column = [entrant(1.0, is_complete=False), entrant(2.0, is_complete=False)]
    assert standings(column, True) == ["", ""]
    assert ranks(column, True) == [None, None]


def test_a_baseline_or_partial_row_takes_no_rank_and_no_tie():
    column = [
        entrant(1.0, (0.0, 9.0), is_model=False),
        entrant(3.0, (2.0, 4.0)),
        entrant(2.0, (0.0, 9.0), is_complete=False),
        entrant(4.0, (3.0, 5.0)),
        entrant(None),
    ]
    assert standings(column, False) == ["", "best", "", "tied", ""]
    assert ranks(column, False) == [None, 1, None, 2, None]
    assert standings(column, True) == ["", "tied", "", "best", ""]
    assert ranks(column, True) == [None, 2, None, 1, None]


def test_ranks_count_places_and_share_them():
    column = [entrant(v) for v in (3.0, 1.0, 2.0, 1.0, 2.0)]
    assert ranks(column, False) == [5, 1, 3, 1, 3]
    assert ranks(column, True) == [1, 4, 2, 4, 2]
