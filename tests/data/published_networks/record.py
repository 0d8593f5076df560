"""Records what the peers' own code makes of seeded weights and clips; see README.md.

From the root of the repository, where the packages in README.md are installed:

    PYTHONPATH=. python tests/data/published_networks/record.py
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import cdfvd.fvd as cdfvd_fvd
import numpy as np
import pytorch_fid.inception as pytorch_fid
import torch
from cdfvd.third_party.i3d.pytorch_i3d import InceptionI3d
from cdfvd.third_party.i3d.utils import preprocess_i3d
from cdfvd.utils.data_utils import preprocess as cdfvd_loader
from cdfvd.utils.metric_utils import FeatureStats
from cleanfid.resize import build_resizer
from pytorch_fid.fid_score import calculate_frechet_distance
from safetensors.numpy import save_file
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchmetrics.image.fid import NoTrainInceptionV3
from torchvision.transforms.functional import to_tensor

from tests.metrics.seeded_weights import seeded_clips, seeded_state

HERE = Path(__file__).parent
LAYERS = ["2048", "logits_unbiased", "logits"]


def shapes_of(network: torch.nn.Module) -> dict[str, list[int]]:
    """Key -> shape of its state dict."""
    return {key: list(value.shape) for key, value in network.state_dict().items()}


def fid_network(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """pytorch-fid's network on ``state``: its own code, but for the download."""
    pytorch_fid.load_state_dict_from_url = lambda *_, **__: state
    return pytorch_fid.InceptionV3([3]).eval()


def pooled_of_pytorch_fid(network: torch.nn.Module, frames: np.ndarray) -> np.ndarray:
    """Features (T, 2048) of uint8 frames."""
    batch = torch.stack([to_tensor(frame) for frame in frames])
    return network(batch)[0].flatten(1).numpy()


def i3d_logits(network: torch.nn.Module, video: torch.Tensor) -> np.ndarray:
    """Logits (B, 400) of a video (B, 3, T, 224, 224)."""
    return network(video).numpy()


@torch.inference_mode()
def main() -> None:
    """Writes features.safetensors, distances.json and inception_keys.json."""
    arrays: dict[str, np.ndarray] = {}
    distances: dict[str, float] = {}

    pytorch_fid.load_state_dict_from_url = lambda *_, **__: None
    original = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = lambda *_, **__: None
    shapes = shapes_of(pytorch_fid.fid_inception_v3())
    torch.nn.Module.load_state_dict = original
    state = seeded_state(shapes)
    fid = fid_network(state)

    with tempfile.TemporaryDirectory() as folder:
        path = os.fspath(Path(folder) / "inception.pth")
        torch.save(state, path)
        fidelity = FeatureExtractorInceptionV3(
            "inception-v3-compat", LAYERS, feature_extractor_weights_path=path
        )
        metrics = NoTrainInceptionV3("inception-v3-compat", LAYERS, path)

    clips = [
        *seeded_clips(1, 2, 96, 128, seed=1),
        *seeded_clips(1, 2, 320, 400, seed=2),
    ]
    clean = build_resizer("clean")
    for index, clip in enumerate(clips):
        batch = torch.from_numpy(clip.frames).permute(0, 3, 1, 2).contiguous()
        arrays[f"{index}.inception.pooled"] = pooled_of_pytorch_fid(fid, clip.frames)
        for name, network in (
            ("inception-torch-fidelity", fidelity),
            ("inception-torchmetrics", metrics),
        ):
            found = network._torch_fidelity_forward(batch) if network is metrics else network(batch)
            for array, value in zip(("pooled", "logits", "logits_biased"), found, strict=True):
                arrays[f"{index}.{name}.{array}"] = value.numpy()
        resized = np.stack([clean(frame) for frame in clip.frames]).transpose(0, 3, 1, 2)
        arrays[f"{index}.resize.clean"] = resized[:, :, ::13, ::17]

    sets = [seeded_clips(64, 1, 64, 64, seed=s, contrast=c) for s, c in ((3, 1.0), (4, 0.7))]
    moments = []
    for each in sets:
        frames = np.concatenate([clip.frames for clip in each])
        rows = np.concatenate(
            [pooled_of_pytorch_fid(fid, frames[i : i + 16]) for i in range(0, 64, 16)]
        ).astype(np.float64)
        moments += [rows.mean(axis=0), np.cov(rows, rowvar=False)]
    distances["pytorch-fid"] = float(calculate_frechet_distance(*moments))

    i3d = InceptionI3d(400, in_channels=3).eval()
    i3d.load_state_dict(seeded_state(shapes_of(i3d)), strict=False)
    for index, clip in enumerate(
        [*seeded_clips(1, 9, 96, 128, seed=5), *seeded_clips(1, 16, 320, 280, seed=6)]
    ):
        arrays[f"{index}.i3d-tats.logits"] = i3d_logits(i3d, preprocess_i3d(clip.frames[None]))
        loaded = cdfvd_loader(torch.from_numpy(clip.frames), 256)["video"]
        levels = (loaded * 255).byte().permute(1, 2, 3, 0).numpy()
        arrays[f"{index}.i3d-cd-fvd.logits"] = i3d_logits(i3d, preprocess_i3d(levels[None]))
    stats = []
    for seed, contrast in ((7, 1.0), (8, 0.7)):
        moment = FeatureStats(capture_mean_cov=True)
        for clip in seeded_clips(64, 9, 64, 64, seed=seed, contrast=contrast):
            moment.append(i3d_logits(i3d, preprocess_i3d(clip.frames[None])))
        stats.append(moment)
    evaluator = cdfvd_fvd.cdfvd.__new__(cdfvd_fvd.cdfvd)
    distances["cd-fvd"] = float(evaluator.compute_fvd_from_stats(*stats))

    save_file(
        {key: np.ascontiguousarray(value) for key, value in sorted(arrays.items())},
        HERE / "features.safetensors",
    )
    write = {"distances": distances, "inception_keys": shapes, "i3d_keys": shapes_of(i3d)}
    for name, content in write.items():
        (HERE / f"{name}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
