"""First steps of the tiny UNets' trainings by their present recipes, against recorded losses."""

import json
from pathlib import Path
from typing import Any

import pytest

from i2vbench.models.consisti2v.ablation import RECIPE
from i2vbench.models.consisti2v.adapter import TINY_FOLDER
from i2vbench.models.consisti2v.training.tiny_recipe import UNetTraining
from i2vbench.models.consisti2v.training.unet import load_parts, train

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "tests" / "data" / "tiny_replay" / "losses.json"
STAGES: dict[str, tuple[Path | None, dict[str, Any]]] = {
    "ablation from nothing": (None, {}),
    # Stage `windows` of the shipped checkpoint, in `training/README.md`.
    "windows": (
        ROOT / "weights" / "tiny-start",
        {
            "size_px": 32,
            "scene_sides": 2,
            "pixel_weights": True,
            "flow_weight": 0.5,
            "high_noise_share": 0.3,
            "warmup_steps": 30,
        },
    ),
}


@pytest.mark.parametrize("stage", STAGES)
def test_twenty_steps_give_the_recorded_losses(stage, tmp_path):
    """On the shipped autoencoder and text tower, in float32, one clip a step."""
    initial, changed = STAGES[stage]
    options = UNetTraining(**{**RECIPE, **changed}, steps=20, batch_size=1, seed=4, bf16=False)
    train(tmp_path, load_parts(TINY_FOLDER / "vae", TINY_FOLDER), options, initial=initial)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))[stage]
    assert [row["loss"] for row in rows] == pytest.approx(recorded, rel=1e-3)
