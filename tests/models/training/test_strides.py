"""Frame strides between the whole ones, from the program's options to the network."""

import pytest
import torch
from click.testing import CliRunner

from i2vbench.models.consisti2v.adapter import TINY_FOLDER
from i2vbench.models.consisti2v.training import unet as unet_training
from i2vbench.models.consisti2v.training.data import SceneClips
from i2vbench.models.consisti2v.training.tiny_recipe import UNetTraining
from i2vbench.suites.playground.rendering import render
from i2vbench.suites.playground.scenes import scene_from_seed
from i2vbench.suites.playground.seeds import TRAIN_SEED_START

QUARTERS = {"strides": (2, 2.5), "stride_step": 0.25}


def test_clips_are_as_fast_as_their_stride_says():
    clips = SceneClips(4, 16, **QUARTERS)
    drawn = set()
    for index in range(20):
        frames, _, stride = clips[index]
        expected = render(scene_from_seed(TRAIN_SEED_START + index), 4, 16, 16, stride)
        assert torch.equal(frames, torch.from_numpy(expected).permute(0, 3, 1, 2))
        drawn.add(stride)
    assert drawn == {2, 2.25, 2.5}


def test_the_largest_stride_is_not_exceeded():
    clips = SceneClips(4, 16, strides=(1, 2), stride_step=0.6)
    assert {clips[index][2] for index in range(20)} == {1, 1.6}


def test_the_network_is_told_the_stride_of_each_clip(monkeypatch, tmp_path):
    told = []
    original = unet_training.diffusion_loss

    def loss(unet, batch, *rest, **options):
        told.extend(batch.stride_B.tolist())
        return original(unet, batch, *rest, **options)

    monkeypatch.setattr(unet_training, "diffusion_loss", loss)
    parts = unet_training.load_parts(TINY_FOLDER / "vae", TINY_FOLDER)
    options = UNetTraining(
        steps=2, batch_size=4, num_frames=2, size_px=16, bf16=False, seed=1, **QUARTERS
    )
    unet_training.train(tmp_path, parts, options)
    clips = SceneClips(2, 16, first_seed=unet_training.first_scene(1), **QUARTERS)
    assert told == [clips[number][2] for number in range(8)]
    assert 2.25 in told


def test_the_program_passes_its_strides_on(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(unet_training, "load_parts", lambda vae, text: None)
    monkeypatch.setattr(
        unet_training, "train", lambda output, parts, options, **rest: given.append(options)
    )
    folders = [part for name in ("output", "vae", "text") for part in (f"--{name}", str(tmp_path))]
    arguments = [*folders, "--strides", "2", "2.5", "--stride-step", "0.25"]
    CliRunner().invoke(unet_training.main, arguments, catch_exceptions=False)
    assert [(options.strides, options.stride_step) for options in given] == [((2, 2.5), 0.25)]


def test_strides_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match=r"strides=\(3, 2\); accepted: the smaller one first"):
        UNetTraining(strides=(3, 2))
    with pytest.raises(ValueError, match=r"stride_step=0; accepted: more than 0"):
        UNetTraining(stride_step=0)
