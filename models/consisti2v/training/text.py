"""Trains the text tower on to say what it has read: who is there, how each moves, the camera.

The tower of `clip.py` has learned to tell scenes apart by their looks; how they move can hardly be
read from its states, and a UNet that hears nothing of motion makes clips that stand still. Here the
state of the end-of-text token, which sees the whole caption, has to name every attribute of the
scene through linear maps, which are thrown away afterwards.

Shapes: B captions, L tokens, D text width.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from i2vbench.device import has_arithmetic
from i2vbench.models.consisti2v.training.clip import tokenize, without_padding
from i2vbench.models.consisti2v.training.progress import (
    learning_rate,
    load_state,
    log_numbers,
    save_state,
    set_learning_rate,
)
from i2vbench.suites.playground.captions import NUM_PHRASINGS, caption
from i2vbench.suites.playground.scenes import (
    CAMERAS,
    COLORS,
    MOTIONS,
    PATTERNS,
    SHAPES,
    SPEEDS,
    TEXTURES,
    Scene,
    scene_from_seed,
)
from i2vbench.suites.playground.seeds import TRAIN_SEED_START

_log = logging.getLogger(__name__)

MAX_SHAPES = 3
_OF_SHAPE = (SHAPES, tuple(COLORS), PATTERNS, MOTIONS, tuple(SPEEDS))
_OF_SCENE = (CAMERAS, TEXTURES, tuple(COLORS))
NUM_CLASSES = (*(len(names) for names in _OF_SHAPE * MAX_SHAPES + _OF_SCENE),)
IGNORED = -100
"""Label of what a caption does not say: a shape that is not there, the speed of one at rest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextTraining:
    """Options of the text tower's training."""

    steps: int = 1200
    batch_size: int = 192
    peak_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    seed: int = 0
    save_every: int = 100
    bf16: bool = field(default_factory=lambda: has_arithmetic("bf16"))


def labels(scene: Scene) -> list[int]:
    """The number of each attribute of `scene` among its classes, in the order of NUM_CLASSES."""
    found: list[int] = []
    for shape in scene.shapes:
        of_shape = (shape.kind, shape.color, shape.pattern, shape.motion, shape.speed)
        found += [names.index(name) for names, name in zip(_OF_SHAPE, of_shape, strict=True)]
        if shape.motion == "still":
            found[-1] = IGNORED
    found += [IGNORED] * (len(_OF_SHAPE) * (MAX_SHAPES - len(scene.shapes)))
    background = scene.background
    of_scene = (scene.camera, background.texture, background.color)
    return found + [names.index(name) for names, name in zip(_OF_SCENE, of_scene, strict=True)]


def caption_batch(step: int, size: int, seed: int) -> tuple[list[str], torch.Tensor]:
    """Captions of the scenes of `step`, and their labels, int64 (B, attributes)."""
    rng = np.random.Generator(np.random.PCG64((seed, step, 5)))
    first = TRAIN_SEED_START + step * size
    scenes = [scene_from_seed(first + index) for index in range(size)]
    texts = [caption(scene, int(rng.integers(NUM_PHRASINGS * 16))) for scene in scenes]
    return texts, torch.tensor([labels(scene) for scene in scenes])


class Attributes(nn.Module):
    """A text tower and, on the state of its last token, one linear map for all attributes."""

    def __init__(self, tower: CLIPTextModel) -> None:
        super().__init__()
        self.tower = tower
        self.heads = nn.Linear(tower.config.hidden_size, sum(NUM_CLASSES))

    def forward(self, tokens_BL: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logits of each attribute, (B, classes)."""
        states_BLD = self.tower(tokens_BL).last_hidden_state
        last_BD = states_BLD[torch.arange(len(tokens_BL)), tokens_BL.argmax(-1)]
        return self.heads(last_BD).float().split(NUM_CLASSES, dim=-1)  # type: ignore[no-any-return]


def attribute_loss(
    logits: tuple[torch.Tensor, ...], labels_BA: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy over what the captions say, and the share named rightly."""
    losses, right, counted = [], torch.zeros(()), torch.zeros(())
    for logits_BK, labels_B in zip(logits, labels_BA.unbind(1), strict=True):
        said = labels_B != IGNORED
        if said.any():
            losses.append(F.cross_entropy(logits_BK, labels_B, ignore_index=IGNORED))
            right += (logits_BK.argmax(1) == labels_B)[said].sum()
            counted += said.sum()
    return torch.stack(losses).mean(), right / counted


def train(output: Path, start: Path, options: TextTraining) -> CLIPTextModel:
    """Trains or resumes in `output`; writes `text_encoder/` and `tokenizer/` there.

    Args:
        output: Run directory.
        start: Output of the CLIP training, whose text tower is trained on.
        options: Steps and rates.
    """
    torch.manual_seed(options.seed)
    tokenizer = CLIPTokenizer.from_pretrained(start / "tokenizer")
    model = Attributes(CLIPTextModel.from_pretrained(start / "text_encoder").float())
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.peak_rate, weight_decay=options.weight_decay
    )
    held = {"model": model, "optimizer": optimizer}
    began = time.monotonic()
    for step in range(load_state(output, held), options.steps):
        set_learning_rate(
            optimizer, learning_rate(step, options.steps, options.peak_rate, options.warmup_steps)
        )
        texts, labels_BA = caption_batch(step, options.batch_size, options.seed)
        tokens_BL = without_padding(tokenize(tokenizer, texts))
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            logits = model(tokens_BL)
        loss, accuracy = attribute_loss(logits, labels_BA)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), options.max_grad_norm)
        optimizer.step()
        log_numbers(
            output,
            step=step,
            seconds=time.monotonic() - began,
            loss=loss.item(),
            accuracy=accuracy.item(),
        )
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            save_state(output, step + 1, held)
            _log.info("step %d: loss %.4f, right %.3f", step + 1, loss.item(), accuracy.item())
    tower: CLIPTextModel = model.tower.eval()
    tower.half().save_pretrained(output / "text_encoder", safe_serialization=True)
    shutil.copytree(start / "tokenizer", output / "tokenizer", dirs_exist_ok=True)
    return tower


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Run directory; resumes if it exists.",
)
@click.option(
    "--start",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Output folder of the CLIP training.",
)
@click.option("--steps", default=TextTraining().steps, show_default=True)
@click.option("--batch-size", default=TextTraining().batch_size, show_default=True)
@click.option("--peak-rate", default=TextTraining().peak_rate, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(
    output: Path, start: Path, steps: int, batch_size: int, peak_rate: float, seed: int
) -> None:
    """Trains the text tower to name what captions say."""
    logging.basicConfig(level=logging.INFO)
    options = TextTraining(steps=steps, batch_size=batch_size, peak_rate=peak_rate, seed=seed)
    train(output, start, options)


if __name__ == "__main__":
    main()
