"""Memory that loading the full-size ConsistI2V takes, in multiples of the size of its weights.

    python benchmarks/loading.py [--dtype bf16]

Writes a UNet of the published configuration with random float32 weights (5 GB) into a temporary
folder, loads it in a process of its own and prints that process's peak beside the size.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from consisti2v import DTYPES, PUBLISHED
from safetensors.torch import save_file

from i2vbench.models.consisti2v.networks import load_unet
from i2vbench.models.consisti2v.unet import ConsistI2VUNet


def write(folder: Path) -> None:
    """The ``unet/`` folder of the published layout."""
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in ConsistI2VUNet.from_config(PUBLISHED).state_dict().items()}
    save_file(
        {name: torch.rand(shape) for name, shape in shapes.items()},
        folder / "diffusion_pytorch_model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(PUBLISHED))


def load(folder: Path, dtype: torch.dtype) -> None:
    """Prints what loading added to the peak, in GB, and its multiple of the network's size."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    unet = load_unet(folder, dtype=dtype)
    size = sum(p.numel() * p.element_size() for p in unet.parameters())
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(f"network {size / 1e9:.2f} GB, peak {added / 1e9:.2f} GB: {added / size:.3f} times")


def main() -> None:
    """Writes, then loads in a child."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=list(DTYPES), default="fp32")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        write(given.write)
        return
    if given.load:
        load(given.load, DTYPES[given.dtype])
        return
    with tempfile.TemporaryDirectory() as name:
        # Each in a process of its own: a child starts with the peak of its parent.
        for task in ("--write", "--load"):
            command = [sys.executable, __file__, "--dtype", given.dtype, task, name]
            subprocess.run(command, check=True)  # noqa: S603


if __name__ == "__main__":
    main()
