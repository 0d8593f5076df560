"""Records what the trainings of `test_replay.py` begin with: ``python record.py``."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1] / "models" / "training")]

from test_replay import RECORDED, STAGES, first_losses  # noqa: E402

torch.set_num_threads(1)
recorded = {}
for stage in STAGES:
    with tempfile.TemporaryDirectory() as folder:
        recorded[stage] = first_losses(stage, Path(folder))
RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")
