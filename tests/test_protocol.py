"""Protocols: their files, what they fix, what of it enters a fingerprint, their totals."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner

from i2vbench import metrics
from i2vbench.cli import cli
from i2vbench.errors import UserError
from i2vbench.metric_runs import (
    MetricRun,
    MissingMetric,
    metric_fingerprint,
    metric_identity,
    prepare_metrics,
)
from i2vbench.protocol import MetricChoice, load_protocol
from i2vbench.protocol_file import parse_protocol, read_protocol
from i2vbench.registry import EXTRACTORS, METRICS, PROTOCOLS
from i2vbench.results import Score
from i2vbench.totals import total_scores

FILES = sorted((Path(metrics.__path__[0]) / "protocols").glob("*.yaml"))
# What a reader is told, but no number depends on.
TEXTS = {"source", "notes", "label", "unavailable"}


def constants_of(node, path=()):
    """The places of all values in a YAML tree that numbers depend on."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if key in TEXTS:
            continue
        if isinstance(value, dict | list):
            yield from constants_of(value, (*path, key))
        elif value is not None:
            yield (*path, key)


def changed(tree, path):
    tree = copy.deepcopy(tree)
    node = tree
    for key in path[:-1]:
        node = node[key]
    old = node[path[-1]]
    node[path[-1]] = old * 0.5 + 0.01 if type(old) in (int, float) else f"{old}x"
    if type(old) is int and path[0] != "totals":
        node[path[-1]] = 1 - old if path[-1] == "ddof" else old + 1
    return tree


def fingerprints(protocol):
    """Of every metric and total, with networks that stand for their names alone."""
    found = {}
    for suite in ("ucf101", "msrvtt"):
        for name in protocol.metrics_on(suite):
            choice = protocol.choice(name)
            if choice.unavailable:
                continue
            made = METRICS.load(name)(**choice.options)
            networks = [SimpleNamespace(name=e, version="0", spec=dict) for e in choice.extractors]
            found[suite, name] = metric_fingerprint(made, networks, protocol, choice)
    if protocol.totals:
        scores = [scored(name, 0.5, digest) for (_, name), digest in found.items()]
        found |= {("", s.metric): s.fingerprint for s in total_scores(protocol.totals, scores)}
    return found


def scored(metric, value, fingerprint="x"):
    return Score(
        metric=metric, label=metric, value=value, higher_is_better=True, level="clip",
        n_scored=4, n_expected=4, fingerprint=fingerprint,
    )  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
class TestFiles:
    def test_it_is_registered_under_its_name(self, file):
        assert load_protocol(file.stem) == read_protocol(file)
        assert load_protocol(file.stem).name == file.stem

    def test_it_names_what_exists_or_says_why_not(self, file):
        protocol = read_protocol(file)
        known_metrics = {entry.name for entry in METRICS.entries()}
        known_extractors = {entry.name for entry in EXTRACTORS.entries()}
        for name in protocol.metrics:
            choice = protocol.choice(name)
            assert choice.unavailable or name in known_metrics
            assert {*choice.extractors} <= known_extractors
            assert file.stem == "embedded" or choice.source

    def test_any_constant_changes_a_fingerprint(self, file):
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
        before = fingerprints(parse_protocol(tree, file.name))
        places = list(constants_of(tree))
        assert places
        for path in places:
            try:
                after = fingerprints(parse_protocol(changed(tree, path), file.name))
            except UserError:
                continue  # a name that must be one of the others
            assert after != before, path

    def test_what_is_only_told_changes_none(self, file):
        protocol = read_protocol(file)
        told = {n: dataclasses.replace(protocol.choice(n), source="x") for n in protocol.metrics}
        other = dataclasses.replace(protocol, source="x", notes=("x",), choices=told)
        assert fingerprints(other) == fingerprints(protocol)

    def test_show_protocol_prints_every_choice(self, file):
        done = CliRunner().invoke(cli, ["show-protocol", file.stem])
        assert done.exit_code == 0, done.output
        protocol = read_protocol(file)
        for name in protocol.metrics:
            assert name in done.output
            for extractor in protocol.choice(name).extractors:
                assert extractor in done.output
        for it in protocol.totals.dimensions.values() if protocol.totals else ():
            assert f"low {it.low:<6g}  high {it.high:<6g}  weight {it.weight:g}" in done.output


def test_all_files_are_all_protocols():
    assert {file.stem for file in FILES} == {
        entry.name for entry in PROTOCOLS.entries() if entry.source == "built in"
    }


GOOD = {"name": "mine", "version": "1", "source": "me", "metrics": {"fvd": None}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": {}}, "key 'metric' is unknown: did you mean 'metrics'"),
        ({"metrics": {"fvd": {"extractor": ["i3d"]}}}, "did you mean 'extractors'"),
        ({"metrics": {"fvd": {"extractors": "i3d"}}}, "must be a list"),
        ({"version": 1}, "version is 1, must be text"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"totals": {"groups": {"Q": ["fvd"]}, "dimensions": {}}}, "'fvd' has no constants"),
    ],
)
def test_a_wrong_file_is_one_line_that_says_where(change, message):
    with pytest.raises(UserError, match=message) as caught:
        parse_protocol({**GOOD, **change}, "mine.yaml")
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics: " + "[" * 400 + "]" * 400, "nested more than 50 levels deep"),
        ("name: x\nname: y", "line 2: the key 'name' stands twice"),
        ("[" + "x, " * 200 + "]", "must be a mapping of names"),
        ("{1: x}", "must be a mapping of names"),
        (yaml.safe_dump(GOOD) + "num_frames: " + "9" * 5000, "a number of 5,000 characters"),
        (yaml.safe_dump(GOOD | {"version": ["x" * 900] * 90}), "must be text"),
        (yaml.safe_dump(GOOD | {"totals": {"groups": {}, "dimensions": {
            "fvd": {"low": -float("inf"), "high": 1, "weight": 1}}}}), "must be a number"),
    ],
)  # fmt: skip
def test_a_file_that_grows_is_refused_in_a_short_line(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_protocol(file)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value).replace(str(file), "")) < 300


def test_a_file_that_is_no_text_is_named(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_bytes("name: naïve".encode("latin-1"))
    with pytest.raises(UserError, match=r"is not UTF-8 \(byte 8\)"):
        read_protocol(file)
    with pytest.raises(UserError, match="cannot be read"):
        read_protocol(tmp_path / "none.yaml")


def test_a_file_of_ones_own_is_a_protocol_and_its_metrics_exist(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    assert load_protocol(str(file)).metrics == ("fvd",)
    file.write_text(yaml.safe_dump({**GOOD, "metrics": {"fdv": None}}))
    with pytest.raises(UserError, match="names metric 'fdv', which does not exist"):
        load_protocol(str(file))


def prepared(tmp_path, choices, **more):
    protocol = parse_protocol({**GOOD, "metrics": choices, **more}, "mine.yaml")
    plan = SimpleNamespace(
        geometry=SimpleNamespace(height=8, width=8, num_frames=16),
        suite=SimpleNamespace(drawn=False, content_sha256="", sampling={}),
    )
    run = SimpleNamespace(path=tmp_path)
    return prepare_metrics(run, plan, protocol, protocol.metrics, "cpu")


def test_what_is_not_here_is_a_column_with_a_reason(tmp_path):
    no_metric, no_network, declared, there = prepared(
        tmp_path,
        {
            "warmth": None,
            "fvd": {"extractors": ["i3d-of-mars"]},
            "heat": {"unavailable": "needs a thermometer", "label": "Heat"},
            "temporal_flickering": None,
        },
    )
    assert isinstance(there, MetricRun)
    assert all(isinstance(each, MissingMetric) for each in (no_metric, no_network, declared))
    assert no_metric.score().reason == "this version has no metric 'warmth'"
    assert no_network.score().reason == "this version has no extractor 'i3d-of-mars'"
    assert no_network.score().level == "set"
    assert (declared.score().label, declared.score().reason) == ("Heat", "needs a thermometer")
    assert declared.score().fingerprint == ""


def test_options_and_networks_that_do_not_fit_are_errors(tmp_path):
    with pytest.raises(UserError, match="does not take the options"):
        prepared(tmp_path, {"fvd": {"options": {"dof": 0}}})
    with pytest.raises(UserError, match="ddof must be 0 or 1"):
        prepared(tmp_path, {"fvd": {"options": {"ddof": 2}}})
    with pytest.raises(UserError, match="it reads 1: i3d"):
        prepared(tmp_path, {"fvd": {"extractors": ["i3d", "flow"]}})


@pytest.mark.parametrize(
    ("sampling", "note"),
    [
        ({"clip": "random", "num_frames": 16, "stride": 3, "size": 256, "seed": 7}, ""),
        ({"clip": "random", "num_frames": "model", "stride": 3, "size": "model"}, ""),
        (
            {"clip": "first", "num_frames": 16, "stride": 3, "size": "native"},
            "consisti2v-paper asks for reference clips of clip=random size=256, "
            "these are clip=first size=native",
        ),
        (
            {},
            "consisti2v-paper asks for reference clips of clip=random num_frames=16 stride=3 "
            "size=256, these are not cut",
        ),
    ],
)
def test_clips_that_are_cut_otherwise_are_named(sampling, note):
    suite = SimpleNamespace(sampling=sampling)
    geometry = SimpleNamespace(height=256, width=256, num_frames=16)
    assert load_protocol("consisti2v-paper").sampling_note(suite, geometry) == note
    assert load_protocol("vbench-i2v").sampling_note(suite, geometry) == ""


def test_metrics_that_compare_with_references_say_how_those_were_cut(tmp_path):
    run = prepared(tmp_path, {"fvd": None, "temporal_flickering": None}, sampling={"stride": 2})
    assert [entry.note for entry in run] == [
        "mine asks for reference clips of stride=2, these are not cut",
        "",
    ]


def test_a_dimension_counts_the_samples_that_list_it():
    run = MetricRun(
        metric=METRICS.load("temporal_flickering")(), extractors=(),
        choice=MetricChoice(dimension="camera_motion"), source="", fingerprint="", rows_file=Path(),
        rows={}, examples=[],
    )  # fmt: skip

    def wants(**extra):
        sample = SimpleNamespace(prompt="", load_first_frame=None, load_reference=None, extra=extra)
        return run.wants(SimpleNamespace(sample=sample))

    assert wants(dimensions="i2v_subject camera_motion")
    assert not wants(dimensions="i2v_subject")
    assert wants(), "a suite without the column counts wholly"


# The row MAGI-1 of MUG-V's table 1, whose last three columns are these totals.
MAGI = {
    "camera_motion": 0.5085, "i2v_subject": 0.9839, "i2v_background": 0.9900,
    "subject_consistency": 0.9396, "background_consistency": 0.9674, "motion_smoothness": 0.9868,
    "dynamic_degree": 0.6821, "aesthetic_quality": 0.6474, "imaging_quality": 0.6971,
}  # fmt: skip


def test_totals_are_those_of_a_published_row():
    totals = load_protocol("vbench-i2v").totals
    quality, i2v, total = total_scores(totals, [scored(n, v) for n, v in MAGI.items()])
    assert [s.label for s in (quality, i2v, total)] == ["Quality", "I2V", "Total"]
    assert 100 * i2v.value == pytest.approx(96.12, abs=0.011)
    assert 100 * quality.value == pytest.approx(82.44, abs=0.011)
    assert 100 * total.value == pytest.approx(89.28, abs=0.011)


def test_a_missing_dimension_gives_no_total_and_a_reason():
    totals = load_protocol("vbench-i2v").totals
    scores = [scored(n, None if n == "camera_motion" else v) for n, v in MAGI.items()]
    quality, i2v, total = total_scores(totals, scores)
    assert quality.value is not None
    assert (i2v.value, i2v.reason) == (None, "needs camera_motion")
    assert (total.value, total.reason) == (None, "needs camera_motion")


def test_a_changed_file_of_ones_own_is_scored_again(tmp_path):
    file = tmp_path / "mine.yaml"
    keys = []
    for ddof in (0, 1):
        file.write_text(yaml.safe_dump({**GOOD, "metrics": {"fvd": {"options": {"ddof": ddof}}}}))
        keys.append(metric_identity("fvd", load_protocol(str(file))))
    assert keys[0] != keys[1]
    assert keys[1] == metric_identity("fvd", load_protocol(str(file)))
