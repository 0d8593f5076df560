"""Records what VBench's ViCLIP makes of seeded weights: ``python record.py CHECKOUT_OF_VBENCH``."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2]), sys.argv[1]]

# The vocabulary, which VBench would download; open_clip's file has the same bytes.
cache = Path(tempfile.mkdtemp())
(cache / "ViCLIP").mkdir()
shutil.copy(Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz", cache / "ViCLIP")
os.environ["VBENCH_CACHE_DIR"] = str(cache)

from vbench.third_party.ViCLIP.viclip import ViCLIP  # noqa: E402
from vbench.third_party.ViCLIP.viclip_text import CLIP_TEXT  # noqa: E402
from vbench.third_party.ViCLIP.viclip_vision import VisionTransformer  # noqa: E402
from vbench.utils import clip_transform, get_frame_indices  # noqa: E402

from tests.metrics.test_viclip import CLIPS, PROMPTS, viclip_state  # noqa: E402


def shapes_of(network: torch.nn.Module) -> dict[str, list[int]]:
    """Key -> shape of its state dict."""
    return {key: list(tensor.shape) for key, tensor in network.state_dict().items()}


network = ViCLIP(pretrain=None)
(HERE / "keys.json").write_text(json.dumps(shapes_of(network)) + "\n")

network.vision_encoder = VisionTransformer(
    224, 14, width=128, layers=2, heads=2, output_dim=32, num_frames=8
).eval()
network.text_encoder = CLIP_TEXT(32, 32, 49408, 128, 2, 2, 0).eval()
network.load_state_dict(viclip_state(shapes_of(network)))
(HERE / "small_keys.json").write_text(json.dumps(shapes_of(network)) + "\n")
recorded = {}
for index, (clip, prompt) in enumerate(zip(CLIPS, PROMPTS, strict=True)):
    looked_at = get_frame_indices(8, len(clip.frames), sample="middle")
    frames = torch.from_numpy(clip.frames[looked_at]).permute(0, 3, 1, 2)
    prepared = clip_transform(224)(frames)
    recorded[f"{index}.prepared"] = prepared[:, :, ::37, ::41].contiguous()
    recorded[f"{index}.video"] = network.get_vid_features(prepared[None])[0].contiguous()
    recorded[f"{index}.text"] = network.get_text_features(prompt, None, {})[0].contiguous()
    recorded[f"{index}.frames"] = torch.tensor([int(i) for i in looked_at])
save_file(recorded, HERE / "features.safetensors")
