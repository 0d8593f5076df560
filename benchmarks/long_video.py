"""Peak memory of a long video at full size: one segment and several, each in a process of its own.

    python benchmarks/long_video.py [--segments 8] [--dtype bf16]

Weights are random; two steps per segment, for memory does not depend on their number.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from consisti2v import DTYPES, PUBLISHED, VAE, build
from diffusers import AutoencoderKL, DDIMScheduler
from transformers import CLIPTextConfig, CLIPTextModel

from i2vbench.models.consisti2v.networks import load_tokenizer
from i2vbench.models.consisti2v.noise import SampleDraws
from i2vbench.models.consisti2v.pipeline import ConsistI2VPipeline
from i2vbench.models.consisti2v.sampling import Sampling
from i2vbench.models.consisti2v.unet import ConsistI2VUNet

TOKENIZER = Path(__file__).parents[1] / "models/consisti2v/tiny/tokenizer"


def main() -> None:
    """Prints JSON: peak of one segment, of several, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=8)
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--alone", action="store_true", help="in this process; prints the peak")
    given = parser.parse_args()
    if given.alone:
        print(peak_gib(given.segments, DTYPES[given.dtype]))
        return
    peaks = {}
    for segments in (1, given.segments):
        command = [sys.executable, __file__, "--alone", "--dtype", given.dtype]
        command += ["--segments", str(segments)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        peaks[segments] = float(answer.stdout.split()[-1])
    ratio = peaks[given.segments] / peaks[1]
    print(json.dumps({"dtype": given.dtype, "peak_gib": peaks, "ratio": round(ratio, 4)}))


def peak_gib(num_segments: int, dtype: torch.dtype) -> float:
    """Peak resident memory of this process, networks included."""
    tokenizer = load_tokenizer(TOKENIZER)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=PUBLISHED["cross_attention_dim"],
        num_attention_heads=16,
        num_hidden_layers=1,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    pipeline = ConsistI2VPipeline(
        unet=build(lambda: ConsistI2VUNet.from_config(PUBLISHED), dtype, "cpu"),
        vae=build(lambda: AutoencoderKL(**VAE), dtype, "cpu"),
        text_encoder=CLIPTextModel(text).to(dtype).eval(),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(beta_start=0.00085, beta_end=0.012, steps_offset=1),
    )
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    clips = pipeline(
        ["a red circle"],
        [picture],
        SampleDraws([torch.Generator().manual_seed(0)]),
        Sampling(num_inference_steps=2, guidance_scale_text=1.0),
        height=256,
        width=256,
        num_segments=num_segments,
    )
    assert clips.shape[1] == num_segments * (PUBLISHED["n_frames"] - 1) + 1
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)


if __name__ == "__main__":
    main()
