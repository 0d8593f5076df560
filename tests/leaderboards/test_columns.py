"""Columns of a table: their order, and names that tell equal labels apart."""

from i2vbench.leaderboards.columns import make_columns, never_ran, read_scores


def test_columns_stand_in_the_order_of_the_fullest_run(make_run, make_score):
    few = make_run("few", [make_score("clipsim", 0.3)])
    many = make_run("many", [make_score("fvd"), make_score("clipsim", 0.3), make_score("is", 5.0)])
    names = [column.key.metric for column in make_columns([few, many])]
    assert names == ["fvd", "clipsim", "is"]


def test_the_most_common_fingerprint_comes_first(make_run, make_score):
    rare = make_run("a", [make_score(fingerprint="rare")])
    runs = [rare, *(make_run(name, [make_score(fingerprint="common")]) for name in "bc")]
    made = make_columns(runs)
    assert [column.key.fingerprint for column in made] == ["common", "rare"]
    assert [column.label for column in made] == ["FVD(i3d) · common", "FVD(i3d) · rare"]
    assert [column.slug for column in made] == ["fvd · common", "fvd · rare"]


def test_columns_that_nothing_tells_apart_are_numbered_from_one(make_run, make_score):
    """Only their direction differs, which is no part of a name."""
    runs = [make_run(n, [make_score(higher_is_better=h)]) for n, h in (("a", True), ("b", False))]
    assert [column.label for column in make_columns(runs)] == ["FVD(i3d) · #1", "FVD(i3d) · #2"]


def test_a_metric_that_ran_nowhere_has_an_empty_column(make_run, make_score):
    gone = make_score("clipsim", None, reason="no weights", fingerprint="")
    assert never_ran(gone)
    assert not never_ran(make_score("clipsim", None, reason="too few"))
    runs = [make_run("a", [make_score(), gone]), make_run("b", [make_score(), gone])]
    fvd, clipsim = make_columns(runs)
    assert (clipsim.label, clipsim.key.fingerprint) == ("CLIPSIM(tiny-clip)", "")
    found = read_scores(runs[0]).find(clipsim)
    assert (found.value, found.reason) == (None, "no weights")
    assert read_scores(runs[0]).find(fvd).value == 100.0


def test_why_a_run_has_no_value_in_a_column(make_run, make_score):
    def reason(run, other):
        (column,) = make_columns([other])
        return read_scores(run).find(column).reason

    scored = make_run("a", [make_score()])
    assert reason(make_run("b", []), scored) == "this run was not scored with it"
    other = make_run("b", [make_score(fingerprint="x", label="FVD(other)")])
    assert reason(other, scored) == "scored as FVD(other) instead"
    assert reason(make_run("b", [make_score(value=None)]), scored) == "no reason was given"
    infinite = make_run("b", [make_score(value=float("inf"))])
    assert reason(infinite, scored) == "the value is not finite"


def test_an_interval_needs_two_finite_ends(make_run, make_score):
    def interval(ci):
        run = make_run("a", [make_score(ci=ci)])
        return read_scores(run).find(make_columns([run])[0]).interval

    assert interval((1.0, 2.0)) == (1.0, 2.0)
    assert interval((1.0, float("inf"))) is None
    assert interval((float("nan"), 2.0)) is None
    assert interval(None) is None
