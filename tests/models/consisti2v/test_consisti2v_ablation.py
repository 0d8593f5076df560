"""The ablation at toy size: what is trained, what is shared, and going on after a kill."""

import json
from pathlib import Path

import pytest
import torch

from i2vbench.errors import SpecMismatchError, UserError
from i2vbench.models.consisti2v import ablation
from i2vbench.models.consisti2v.ablation import GROUPS, ROWS, AblationOptions, ablate
from i2vbench.models.consisti2v.checkpoint import read_config, read_weights
from i2vbench.rundir import RunDir
from i2vbench.scoring import score

SMALL = {
    **ablation.UNET_CONFIG,
    "sample_size": 4,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [32, 32],
    "attention_head_dim": [1, 1],
}


def _options(**changes):
    values = {
        "steps": 2,
        "groups": ("table3", "frameinit"),
        "num_seeds": 2,
        "limit": 1,
        "metrics": ("temporal_flickering",),
        "recipe": {"size_px": 16, "batch_size": 1, "num_frames": 4},
        "sampling": {"num_inference_steps": 1},
    }
    return AblationOptions(**{**values, **changes})


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(ablation, "UNET_CONFIG", SMALL)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "UNET_CONFIG", SMALL)
        ablate(folder, _options())
    return folder


def test_rows_share_what_they_can(done):
    content = json.loads((done / "ablation.json").read_text())
    rows = {(row["group"], row["label"]): row for row in content["rows"]}
    assert len(rows) == 6
    seeds = rows["table3", "ConsistI2V"]["scores"]["temporal_flickering"]
    assert len(set(seeds)) == 2
    assert rows["frameinit", "on"]["scores"] == rows["table3", "ConsistI2V"]["scores"]
    assert rows["frameinit", "off"]["scores"] == rows["table3", "w/o FrameInit"]["scores"]
    assert rows["frameinit", "on"]["scores"] != rows["frameinit", "off"]["scores"]
    # Four rows of table 3 with two seeds each; those of FrameInit need none of their own.
    assert len(list((done / "runs" / "playground").iterdir())) == 8
    configs = {f.name: read_config(f / "unet") for f in (done / "checkpoints").iterdir()}
    assert {
        name: (c["first_frame_condition_mode"], c["augment_temporal_attention"])
        for name, c in configs.items()
    } == {
        "full": ("concat", True),
        "no-temporal": ("concat", False),
        "no-temporal-no-spatial": ("input_only", False),
    }


@pytest.mark.parametrize("stage", ["export_checkpoint", "score_run"])
def test_a_killed_ablation_goes_on(done, tmp_path, monkeypatch, stage):
    original, calls = getattr(ablation, stage), []

    def dies(*arguments, **keywords):
        calls.append(stage)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments, **keywords)

    folder = tmp_path / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(ablation, stage, dies)
        with pytest.raises(KeyboardInterrupt):
            ablate(folder, _options())
    trained = [path.name for path in (folder / "checkpoints").glob("*")]
    repeated = []

    def watched(output, *arguments, **keywords):
        repeated.append(output.name)
        return train(output, *arguments, **keywords)

    train = ablation.train
    monkeypatch.setattr(ablation, "train", watched)
    ablate(folder, _options())
    assert not set(trained) & set(repeated)
    assert (folder / "ablation.json").read_bytes() == (done / "ablation.json").read_bytes()


def test_a_finished_ablation_makes_nothing_again(done, monkeypatch):
    def never(*arguments, **keywords):
        raise AssertionError

    # Somebody scores a run of it by another protocol, which its results then hold as well.
    run = RunDir.open(next(done.glob("runs/*/*/run.json")).parent)
    score(run, metrics=["temporal_flickering"], protocol="consisti2v-paper")
    monkeypatch.setattr(ablation, "train", never)
    monkeypatch.setattr(ablation, "score_run", never)
    before = (done / "ablation.json").read_bytes()
    ablate(done, _options())
    assert (done / "ablation.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (lambda done: {"steps": 3}, r"training\.steps: 2 -> 3"),
        (
            lambda done: {"initial": done / "checkpoints" / "full"},
            r"initial: None -> '[0-9a-f]{64}",
        ),
        (lambda done: {"parts": done / "checkpoints" / "full"}, "parts: "),
    ],
)
def test_another_ablation_needs_another_folder(done, changes, named):
    with pytest.raises(SpecMismatchError, match=named):
        ablate(done, _options(**changes(done)))
    assert len(list(done.glob("training/*"))) == 3


def test_all_networks_start_from_the_one_that_is_given(done, tmp_path, monkeypatch):
    start, starts = done / "checkpoints" / "full", []

    def watched(output, *arguments, **keywords):
        starts.append(keywords["initial"])
        return train(output, *arguments, **keywords)

    train = ablation.train
    monkeypatch.setattr(ablation, "train", watched)
    # A rate of next to nothing: the networks are still what they started as.
    recipe = {**_options().recipe, "peak_rate": 1e-9}
    options = _options(initial=start, recipe=recipe, groups=("table3",), num_seeds=1, steps=1)
    ablate(tmp_path / "new", options)
    assert starts == [start] * 3
    given = read_weights(start / "unet")
    for folder in (tmp_path / "new" / "checkpoints").iterdir():
        made = read_weights(folder / "unet")
        assert all(torch.allclose(made[name], given[name], atol=1e-5) for name in given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": ("tabel3",)}, "group 'tabel3' is unknown: did you mean 'table3'"),
        ({"recipe": {"batchsize": 1}}, "recipe has no 'batchsize': did you mean 'batch_size'"),
        ({"recipe": {"prediction": "x"}}, "prediction='x'"),
        ({"steps": 0}, "steps=0; accepted: 1 or more"),
        ({"metrics": ()}, "no metrics"),
        ({"initial": Path("nowhere")}, "nowhere has no unet/; give a checkpoint folder"),
    ],
)
def test_a_wrong_option_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        _options(**changes)


def test_the_sweeps_are_those_of_the_issue():
    assert set(GROUPS) >= {"table3", "frameinit", "noise_level", "frame_stride"}
    levels = [row.options["frameinit_noise_level"] for row in ROWS if row.group == "noise_level"]
    assert (levels[0], levels[-1]) == (650, 999)
    assert all(row.network == "full" for row in ROWS if row.group != "table3")


def test_a_failed_clip_stops_with_its_error(tmp_path, monkeypatch):
    def fails(self, requests):
        raise ValueError("no such frame")
        yield

    monkeypatch.setattr("i2vbench.models.consisti2v.adapter.ConsistI2V.generate", fails)
    with pytest.raises(UserError, match=r"1 clips failed; the first: .*no such frame"):
        ablate(tmp_path, _options(groups=("frameinit",), num_seeds=1))
