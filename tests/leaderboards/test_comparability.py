"""What keeps tables and columns apart, word by word."""

import dataclasses

import pytest

from i2vbench.leaderboards.comparability import (
    ColumnKey,
    TableKey,
    column_differences,
    column_key,
    column_suffixes,
    table_differences,
    table_key,
    view_words,
    why_apart,
)

TABLE = TableKey(
    suite="small", version="1", content_sha256="0123456789", limit=None, protocol="short 1"
)
COLUMN = ColumnKey(metric="fvd", fingerprint="abcdefghij", higher_is_better=False, num_takes=1)


def table(**changes):
    return dataclasses.replace(TABLE, **changes)


def column(**changes):
    return dataclasses.replace(COLUMN, **changes)


@pytest.mark.parametrize(
    ("changes", "phrases"),
    [
        ({}, []),
        ({"suite": "big", "version": "2"}, ["the suite differs (small there, big here)"]),
        (
            {"version": "2", "content_sha256": "9"},
            ["the version of the suite differs (1 there, 2 here)"],
        ),
        (
            {"content_sha256": "987654321"},
            [
                "the content of the suite differs though name and version are equal (sha256 "
                "01234567 there, 98765432 here)"
            ],
        ),
        (
            {"content_sha256": ""},
            [
                "the content of the suite differs though name and version are equal (sha256 "
                "01234567 there, unknown here)"
            ],
        ),
        (
            {"limit": 4, "protocol": "long 2"},
            [
                "the limit differs (all samples there, the first 4 samples here)",
                "the protocol differs (short 1 there, long 2 here)",
            ],
        ),
    ],
)
def test_tables_say_what_differs(changes, phrases):
    assert table_differences(TABLE, table(**changes)) == phrases


def test_the_unknown_content_may_be_there_or_here():
    (phrase,) = table_differences(table(content_sha256=""), TABLE)
    assert phrase.endswith("(sha256 unknown there, 01234567 here)")


def test_a_table_is_compared_with_the_most_similar_one_before_it():
    keys = [table(suite="big", limit=4), table(limit=4), TABLE, table(limit=8)]
    assert why_apart(keys, 1) == (
        "Not comparable with table 1: the suite differs (big there, small here)."
    )
    # Tables 2 and 3 differ from the fourth in one phrase each: the first of them is named.
    assert why_apart(keys, 3) == (
        "Not comparable with table 2: the limit differs (the first 4 samples there, the first 8 "
        "samples here)."
    )
    assert why_apart(keys, 2).startswith("Not comparable with table 2: the limit differs (the")


def test_words_for_views():
    five = tuple("abcde")
    views = [
        {},
        {"limit": 7},
        {"samples": ("a",)},
        {"samples": five[:4]},
        {"samples": five, "limit": 7},
    ]
    assert [view_words(table(**view)) for view in views] == [
        "all samples",
        "the first 7 samples",
        "1 chosen sample (a)",
        "4 chosen samples (a, b, c, d)",
        "5 chosen samples (a, b, c, d, ...) of the first 7 samples",
    ]


def test_takes_part_columns_of_whole_sets_only(make_run, make_score):
    run = make_run(num_takes=4)
    whole, per_clip = make_score("fvd"), make_score("clipsim")
    assert column_key(run, whole) == ColumnKey(
        metric="fvd", fingerprint="fvd-fingerprint", higher_is_better=False, num_takes=4
    )
    assert column_key(run, per_clip).num_takes is None
    assert table_key(run) == TableKey(
        suite="playground",
        version="1",
        content_sha256="a" * 64,
        limit=None,
        protocol="embedded 1",
    )


@pytest.mark.parametrize(
    ("changes", "labels", "phrases"),
    [
        ({"fingerprint": "b"}, ["A", "B"], ["the network differs"]),
        (
            {"fingerprint": "b"},
            ["A", "A"],
            [
                "the metric's fingerprint differs (another version, weights, preprocessing, "
                "protocol setting or reference set)"
            ],
        ),
        (
            {"num_takes": 4},
            ["A", "A"],
            [
                "the takes per sample differ (1 and 4), and a score of a whole set depends on the "
                "number of its clips"
            ],
        ),
        ({"higher_is_better": True}, ["A", "A"], ["the direction differs"]),
        ({}, ["A", "A"], []),
    ],
)
def test_columns_say_what_differs(changes, labels, phrases):
    assert column_differences([COLUMN, column(**changes)], labels) == phrases


def test_suffixes_hold_what_differs_and_nothing_else():
    assert column_suffixes([COLUMN, COLUMN]) == ["", ""]
    assert column_suffixes([COLUMN, column(fingerprint="")]) == ["abcdefgh", "unknown"]
    assert column_suffixes([COLUMN, column(num_takes=2), column(num_takes=None)]) == [
        "1 take",
        "2 takes",
        "",
    ]
    assert column_suffixes([COLUMN, column(metric="kvd", fingerprint="klmnopqrst")]) == [
        "fvd, abcdefgh",
        "kvd, klmnopqr",
    ]
