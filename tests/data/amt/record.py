"""Records what AMT's own code makes of seeded weights: ``python record.py CHECKOUT_OF_AMT``."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2]), sys.argv[1]]

from tests.metrics.test_amt import CLIPS, amt_state  # noqa: E402

network = importlib.import_module("networks.AMT-S").Model().eval()
padder = importlib.import_module("utils.utils").InputPadder
shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
(HERE / "keys.json").write_text(json.dumps(shapes, indent=0) + "\n")
network.load_state_dict(amt_state(shapes))
time = torch.tensor(0.5).view(1, 1, 1, 1)
recorded = {}
for index, clip in enumerate(CLIPS):
    pair = [torch.tensor(clip.frames[i]).permute(2, 0, 1)[None] / 255.0 for i in (0, 2)]
    pad = padder(pair[0].shape, 16)
    with torch.no_grad():
        made = network(*pad.pad(*pair), time, eval=True)["imgt_pred"]
    recorded[f"{index}"] = pad.unpad(made)[0, :, ::7, ::11].contiguous()
save_file(recorded, HERE / "frames.safetensors")
