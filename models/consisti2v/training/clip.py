"""Trains a small CLIP on frames and captions of scenes; its text tower conditions the UNet.

Shapes: B scenes, K frames per scene, C channels, H, W pixels, L tokens, D embedding width.

A single frame cannot tell motion words apart. A second contrastive loss therefore compares the text
with two frames of the clip together; only the first objective is needed afterwards, the second
one's heads are dropped.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip import CLIP
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from i2vbench.device import has_arithmetic
from i2vbench.models.consisti2v.training.data import SceneFramePairs, to_unit_range
from i2vbench.models.consisti2v.training.progress import (
    Ema,
    learning_rate,
    load_state,
    log_numbers,
    save_state,
    set_learning_rate,
)
from i2vbench.models.consisti2v.training.tokenizer import CONTEXT_LENGTH, build_tokenizer

_log = logging.getLogger(__name__)

_HEAD_WIDTH = 32
CLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "quick_gelu": False,
    "vision_cfg": {
        "image_size": 64,
        "patch_size": 8,
        "width": 128,
        "layers": 4,
        "head_width": _HEAD_WIDTH,
        "mlp_ratio": 4.0,
    },
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": 0,
        "width": 128,
        "heads": 4,
        "layers": 4,
    },
}
PREPROCESSING: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipTraining:
    """Options of the CLIP training."""

    steps: int = 650
    batch_size: int = 96
    """Scenes per step; each gives two frames."""
    pool_scenes: int = 8_000
    """Scenes drawn before the first step; later epochs take other frames and wordings of them."""
    peak_rate: float = 1e-3
    warmup_steps: int = 60
    weight_decay: float = 0.05
    clip_weight: float = 1.0
    """Weight of the two-frame objective."""
    max_grad_norm: float = 1.0
    ema_decay: float = 0.995
    seed: int = 0
    save_every: int = 50
    bf16: bool = field(default_factory=lambda: has_arithmetic("bf16"))


class ClipWithMotion(nn.Module):
    """open_clip's CLIP and a second pair of heads for two frames at once."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.clip = CLIP(
            config["embed_dim"], config["vision_cfg"], config["text_cfg"], config["quick_gelu"]
        )
        self.clip.visual.output_tokens = True
        vision, text, width = (
            config["vision_cfg"]["width"],
            config["text_cfg"]["width"],
            config["embed_dim"],
        )
        self.frames_head = nn.Sequential(
            nn.Linear(2 * vision + 2 * width, 256), nn.GELU(), nn.Linear(256, width)
        )
        self.text_head = nn.Linear(text, width)
        # Sees coarse positions: pooled features alone forget where a shape is.
        self.where = nn.Linear(vision, 16)
        self.grid = config["vision_cfg"]["image_size"] // config["vision_cfg"]["patch_size"]
        self.layout_head = nn.Linear(2 * 16 * self.grid * self.grid, 2 * vision)

    def forward(
        self, frames_BKCHW: torch.Tensor, tokens_BL: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Returns unit vectors (B, D): first frame, text, both frames, text for motion."""
        images, patches = self.clip.visual(frames_BKCHW.flatten(0, 1))
        images_BKD = images.unflatten(0, frames_BKCHW.shape[:2])
        layout = self.where(patches).unflatten(0, frames_BKCHW.shape[:2]).flatten(1)
        both_BD = self.frames_head(
            torch.cat([self.layout_head(layout), images_BKD.flatten(1)], dim=-1)
        )
        hidden_BLD = self.text_states(tokens_BL)
        pooled_BD = hidden_BLD[torch.arange(len(tokens_BL)), tokens_BL.argmax(-1)]
        text_BD = pooled_BD @ self.clip.text_projection
        vectors = (images_BKD[:, 0], text_BD, both_BD, self.text_head(pooled_BD))
        return tuple(F.normalize(vector.float(), dim=-1) for vector in vectors)

    def text_states(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        """Returns the states of all tokens after the final norm, (B, L, width)."""
        length = tokens_BL.shape[1]
        x_BLD = self.clip.token_embedding(tokens_BL) + self.clip.positional_embedding[:length]
        x_BLD = self.clip.transformer(x_BLD, attn_mask=self.clip.attn_mask[:length, :length])
        return self.clip.ln_final(x_BLD)  # type: ignore[no-any-return]


def train(output: Path, options: ClipTraining, *, config: dict[str, Any] | None = None) -> CLIP:
    """Trains or resumes in `output`; writes `clip/`, `text_encoder/` and `tokenizer/` there."""
    torch.manual_seed(options.seed)
    if not (output / "tokenizer" / "vocab.json").is_file():
        build_tokenizer(output / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(output / "tokenizer")
    config = json.loads(json.dumps(config or CLIP_CONFIG))
    config["text_cfg"]["vocab_size"] = len(tokenizer)
    config["text_cfg"]["eos_id"] = tokenizer.eos_token_id
    model = ClipWithMotion(config)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=options.peak_rate,
        betas=(0.9, 0.98),
        weight_decay=options.weight_decay,
    )
    ema = Ema(model, options.ema_decay)
    parts = {"model": model, "optimizer": optimizer, "ema": ema}
    start = load_state(output, parts)
    pool = SceneFramePairs(options.pool_scenes, config["vision_cfg"]["image_size"])
    began = time.monotonic()
    for step in range(start, options.steps):
        set_learning_rate(
            optimizer, learning_rate(step, options.steps, options.peak_rate, options.warmup_steps)
        )
        frames_BKCHW, texts = pool.batch(step, options.batch_size, options.seed)
        numbers = _losses(model, frames_BKCHW, without_padding(tokenize(tokenizer, texts)), options)
        optimizer.zero_grad(set_to_none=True)
        numbers["loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), options.max_grad_norm)
        optimizer.step()
        with torch.no_grad():
            model.clip.logit_scale.clamp_(0.0, float(np.log(100.0)))
        ema.update(model)
        log_numbers(
            output,
            step=step,
            seconds=time.monotonic() - began,
            **{k: v.item() for k, v in numbers.items()},
        )
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            save_state(output, step + 1, parts)
            _log.info("step %d: loss %.4f", step + 1, numbers["loss"].item())
    model.load_state_dict(ema.shadow)
    model.eval()
    export(model.clip, config, output)
    return model.clip


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Returns token numbers (B, CONTEXT_LENGTH), int64, padded with the end of text."""
    out = tokenizer(
        texts, padding="max_length", truncation=True, max_length=CONTEXT_LENGTH, return_tensors="pt"
    )
    return out["input_ids"]  # type: ignore[no-any-return]


def without_padding(tokens_BL: torch.Tensor) -> torch.Tensor:
    """Returns the columns up to the longest text; under the causal mask, padding has no effect."""
    return tokens_BL[:, : int(tokens_BL.argmax(1).max()) + 1]


def _losses(
    model: ClipWithMotion,
    frames_BKCHW: torch.Tensor,
    tokens_BL: torch.Tensor,
    options: ClipTraining,
) -> dict[str, torch.Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
        image_BD, text_BD, both_BD, motion_BD = model(to_unit_range(frames_BKCHW), tokens_BL)
    scale = model.clip.logit_scale.exp()
    target_B = torch.arange(len(tokens_BL))
    frame_loss, frame_accuracy = _contrast(image_BD, text_BD, scale, target_B)
    clip_loss, clip_accuracy = _contrast(both_BD, motion_BD, scale, target_B)
    return {
        "loss": frame_loss + options.clip_weight * clip_loss,
        "frame_loss": frame_loss.detach(),
        "clip_loss": clip_loss.detach(),
        "frame_accuracy": frame_accuracy,
        "clip_accuracy": clip_accuracy,
    }


def _contrast(
    first_BD: torch.Tensor, second_BD: torch.Tensor, scale: torch.Tensor, target_B: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    logits_BB = scale * first_BD @ second_BD.T
    loss = (F.cross_entropy(logits_BB, target_B) + F.cross_entropy(logits_BB.T, target_B)) / 2
    return loss, (logits_BB.argmax(1) == target_B).float().mean()


def export(clip: CLIP, config: dict[str, Any], output: Path) -> None:
    """Writes the CLIP in open_clip's layout and its text tower in transformers', both fp16."""
    folder = output / "clip"
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.half().contiguous() for name, tensor in clip.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    text = json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESSING}, indent=2)
    (folder / "open_clip_config.json").write_text(text + "\n", encoding="utf-8")
    text_encoder(clip, config).half().save_pretrained(
        output / "text_encoder", safe_serialization=True
    )


def text_encoder(clip: CLIP, config: dict[str, Any]) -> CLIPTextModel:
    """Returns transformers' text model with the weights of `clip`; equal states for every token."""
    text = config["text_cfg"]
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=text["vocab_size"],
            hidden_size=text["width"],
            intermediate_size=4 * text["width"],
            num_hidden_layers=text["layers"],
            num_attention_heads=text["heads"],
            max_position_embeddings=text["context_length"],
            projection_dim=config["embed_dim"],
            hidden_act="gelu",
            bos_token_id=text["eos_id"] - 1,
            eos_token_id=text["eos_id"],
            pad_token_id=text["eos_id"],
        )
    )
    source = clip.state_dict()
    # Older transformers prefix the names of the text model with "text_model.".
    prefix = (
        "text_model." if any(name.startswith("text_model.") for name in model.state_dict()) else ""
    )
    target = {
        f"{prefix}embeddings.token_embedding.weight": source["token_embedding.weight"],
        f"{prefix}embeddings.position_embedding.weight": source["positional_embedding"],
        f"{prefix}final_layer_norm.weight": source["ln_final.weight"],
        f"{prefix}final_layer_norm.bias": source["ln_final.bias"],
    }
    for index in range(text["layers"]):
        ours, theirs = f"transformer.resblocks.{index}", f"{prefix}encoder.layers.{index}"
        for kind in ("weight", "bias"):
            joint = source[f"{ours}.attn.in_proj_{kind}"].chunk(3)
            for name, part in zip("qkv", joint, strict=True):
                target[f"{theirs}.self_attn.{name}_proj.{kind}"] = part
            target[f"{theirs}.self_attn.out_proj.{kind}"] = source[f"{ours}.attn.out_proj.{kind}"]
            for first, second in (("ln_1", "layer_norm1"), ("ln_2", "layer_norm2")):
                target[f"{theirs}.{second}.{kind}"] = source[f"{ours}.{first}.{kind}"]
            for first, second in (("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2")):
                target[f"{theirs}.{second}.{kind}"] = source[f"{ours}.{first}.{kind}"]
    missing, unexpected = model.load_state_dict(target, strict=False)
    left = [name for name in missing if not name.endswith("position_ids")]
    assert not left, left
    assert not unexpected, unexpected
    return model.eval()


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Run directory; resumes if it exists.",
)
@click.option("--steps", default=650, show_default=True)
@click.option("--batch-size", default=96, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(output: Path, steps: int, batch_size: int, seed: int) -> None:
    """Trains the small CLIP on procedural scenes."""
    logging.basicConfig(level=logging.INFO)
    train(output, ClipTraining(steps=steps, batch_size=batch_size, seed=seed))


if __name__ == "__main__":
    main()
