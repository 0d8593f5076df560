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
    # Of the shipped checkpoint, in `training/README.md`.
    "farther": (
        ROOT / "weights" / "tiny-start",
        {
            "size_px": 32,
            "scene_sides": 2,
            "pixel_weights": True,
            "flow_weight": 0.5,
            "high_noise_share": 0.35,
            "warmup_steps": 30,
        },
    ),
}


def first_losses(stage: str, output: Path) -> list[float]:
    """Trains on the shipped autoencoder and text tower: 20 steps of a clip each, in float32."""
    initial, changed = STAGES[stage]
    options = UNetTraining(**{**RECIPE, **changed}, steps=20, batch_size=1, seed=4, bf16=False)
    train(output, load_parts(TINY_FOLDER / "vae", TINY_FOLDER), options, initial=initial)
    lines = (output / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.parametrize("stage", STAGES)
def test_twenty_steps_give_the_recorded_losses(stage, tmp_path):
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))[stage]
    assert first_losses(stage, tmp_path) == pytest.approx(recorded, rel=1e-3)
