"""The first steps of the tiny UNet's training by its present recipe, against recorded losses."""

import json
from pathlib import Path

import pytest

from i2vbench.models.consisti2v.ablation import RECIPE
from i2vbench.models.consisti2v.adapter import TINY_FOLDER
from i2vbench.models.consisti2v.training.tiny_recipe import UNetTraining
from i2vbench.models.consisti2v.training.unet import load_parts, train

RECORDED = Path(__file__).parents[2] / "data" / "tiny_replay" / "losses.json"


def test_twenty_steps_give_the_recorded_losses(tmp_path):
    """On the shipped autoencoder and text tower, in float32, one clip a step."""
    options = UNetTraining(steps=20, batch_size=1, seed=4, bf16=False, **RECIPE)
    train(tmp_path, load_parts(TINY_FOLDER / "vae", TINY_FOLDER), options)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert [row["loss"] for row in rows] == pytest.approx(recorded["losses"], rel=1e-3)
