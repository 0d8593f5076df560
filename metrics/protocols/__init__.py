"""The named protocols: a frozen YAML file each, every choice with its source."""

from __future__ import annotations

from pathlib import Path

from i2vbench.protocol import Protocol
from i2vbench.protocol_file import read_protocol

_FOLDER = Path(__file__).parent


def _read(name: str) -> Protocol:
    return read_protocol(_FOLDER / f"{name}.yaml")


EMBEDDED = _read("embedded")
CONSISTI2V_PAPER = _read("consisti2v-paper")
I2V_BENCH = _read("i2v-bench")
STYLEGAN_V = _read("stylegan-v")
VIDEOGPT = _read("videogpt")
CD_FVD = _read("cd-fvd")
VBENCH_I2V = _read("vbench-i2v")
VBENCH_I2V_2024 = _read("vbench-i2v-2024")
