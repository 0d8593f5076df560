"""Six scores from the same files: the peers one after the other, and one scoring of ours.

    PYTHONPATH=. python benchmarks/scoring_all.py [--clips 8] [--runs 3]

FID, IS, KID, FVD, LPIPS to the first frame, CLIPSIM. Each peer reads the files itself: pytorch-fid,
torch-fidelity (IS and KID in one pass), cd-fvd, lpips, open_clip. Prints JSON: seconds, ratios as
medians over interleaved runs, and all scores of both. Networks have seeded weights but for LPIPS.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import numpy as np
import torch
from open_clip.model import CLIP
from PIL import Image

from benchmarks.scoring import (
    NUM_FRAMES,
    SIDE_PX,
    Found,
    Task,
    cd_fvd,
    i3d_state,
    inception_state,
    interleave,
    modes,
    open_clip_b32,
    peaks,
    pytorch_fid,
    weights_of,
    write_yuv,
)
from i2vbench.clip import Clip
from i2vbench.existing import open_existing
from i2vbench.metrics.features import clip_vit, i3d, inception
from i2vbench.scoring import score_run
from tests.metrics.seeded_weights import seeded_clips

PROMPT = "coloured tiles that drift to the right"
PROTOCOL = """
name: benchmark
version: "1"
source: the peers' own defaults
metrics:
  fid: {extractors: [inception]}
  is: {extractors: [inception], options: {splits: 1}}
  kid: {extractors: [inception]}
  fvd: {extractors: [i3d-tats], options: {ddof: 0}}
  lpips_first_frame: {}
  clipsim: {extractors: [clip-vit-b32]}
"""


def read(path: Path) -> Clip:
    """All frames, as a user reads them with PyAV."""
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    return Clip(frames=np.stack(frames), fps=8)


class PeerScores:
    """Each package with its own network, on frames that it reads itself."""

    def __init__(
        self,
        folder: Path,
        fid_network: Callable[[Any], np.ndarray],
        fvd_network: Callable[[Any], np.ndarray],
        clip_network: CLIP,
        inception_file: Path,
    ) -> None:
        """Takes the networks; torch-fidelity reads its own from ``inception_file``."""
        import lpips
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        from i2vbench.metrics.features.lpips_alexnet import LPIPSExtractor

        self.clips = sorted(folder.glob("clip-*.mp4"))
        self.real = sorted(folder.glob("real-*.mp4"))
        self.fid_network, self.fvd_network = fid_network, fvd_network
        self.clip_network = clip_network
        self.fidelity = FeatureExtractorInceptionV3(
            "inception-v3-compat",
            ["2048", "logits_unbiased"],
            feature_extractor_weights_path=str(inception_file),
        )
        self.lpips = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
        self.lpips.load_state_dict(LPIPSExtractor().network.state_dict())
        self.lpips.eval()
        self.seconds: dict[str, float] = {}

    def scores(self) -> dict[str, float]:
        """The six scores; ``seconds`` says how long each package took in this call."""
        found: dict[str, float] = {}
        for each in (self._fid, self._fidelity, self._fvd, self._lpips, self._clipsim):
            started = time.perf_counter()
            found |= each()
            self.seconds[each.__name__.strip("_")] = time.perf_counter() - started
        return found

    def _fid(self) -> dict[str, float]:
        from pytorch_fid.fid_score import calculate_frechet_distance

        moments = []
        for files in (self.clips, self.real):
            rows = np.concatenate([self.fid_network(read(path)) for path in files])
            moments += [rows.mean(axis=0), np.cov(rows.astype(np.float64), rowvar=False)]
        return {"fid": float(calculate_frechet_distance(*moments))}

    def _fidelity(self) -> dict[str, float]:
        from torch_fidelity.metric_isc import isc_features_to_metric
        from torch_fidelity.metric_kid import kid_features_to_metric

        sides = []
        for files in (self.clips, self.real):
            made = [
                self.fidelity(torch.from_numpy(read(path).frames).permute(0, 3, 1, 2))
                for path in files
            ]
            sides.append([torch.cat(parts) for parts in zip(*made, strict=True)])
        (pooled, logits), (real, _) = sides
        kid = kid_features_to_metric(
            pooled, real, kid_subsets=1, kid_subset_size=len(pooled), verbose=False
        )
        score = isc_features_to_metric(logits, splits=1)
        return {
            "is": score["inception_score_mean"],
            "kid": kid["kernel_inception_distance_mean"],
        }

    def _fvd(self) -> dict[str, float]:
        import cdfvd.fvd
        from cdfvd.utils.metric_utils import FeatureStats

        sides = []
        for files in (self.clips, self.real):
            stats = FeatureStats(capture_mean_cov=True)
            for path in files:
                stats.append(self.fvd_network(read(path))[None])
            sides.append(stats)
        evaluator = cdfvd.fvd.cdfvd.__new__(cdfvd.fvd.cdfvd)
        return {"fvd": float(evaluator.compute_fvd_from_stats(*sides))}

    def _lpips(self) -> dict[str, float]:
        values = []
        for path in self.clips:
            frames = torch.from_numpy(read(path).frames).permute(0, 3, 1, 2) / 127.5 - 1
            first = frames[:1].expand(len(frames) - 1, -1, -1, -1)
            values.append(float(self.lpips(frames[1:], first).mean()))
        return {"lpips_first_frame": float(np.mean(values))}

    def _clipsim(self) -> dict[str, float]:
        from open_clip import tokenize
        from open_clip.transform import image_transform

        transform, values = image_transform(224, is_train=False), []
        for path in self.clips:
            batch = torch.stack([transform(Image.fromarray(frame)) for frame in read(path).frames])
            frames = self.clip_network.encode_image(batch, normalize=True)
            text = self.clip_network.encode_text(tokenize([PROMPT]), normalize=True)
            values.append(float((frames @ text[0]).mean()))
        return {"clipsim": float(np.mean(values))}


class OurScores:
    """One scoring of a manifest; each call is a run of its own, so that nothing is found again."""

    def __init__(self, folder: Path) -> None:
        """Writes manifest, first frames and protocol into ``folder``."""
        self.folder = folder
        self.manifest = folder / "manifest.jsonl"
        rows = []
        for path in sorted(folder.glob("clip-*.mp4")):
            picture = path.with_suffix(".png")
            Image.fromarray(read(path).frames[0]).save(picture)
            real = path.name.replace("clip", "real")
            rows.append(
                {
                    "id": path.stem,
                    "prompt": PROMPT,
                    "image": picture.name,
                    "video": path.name,
                    "reference": real,
                }
            )
        self.manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.protocol = folder / "protocol.yaml"
        self.protocol.write_text(PROTOCOL)

    def scores(self, backend: str = "torch", dtype: str = "fp32") -> dict[str, float | None]:
        """The six scores, as ``i2vbench score`` makes them."""
        with tempfile.TemporaryDirectory() as output:
            run, plan, card = open_existing(self.manifest, Path(output))
            results = score_run(
                run, plan, card, protocol=str(self.protocol), backend=backend, dtype=dtype
            )
        return {score.metric: score.value for score in results.scores}


def compare(num_clips: int, runs: int) -> Found:
    """Both on ``num_clips`` clips of 16 frames of 256x256, and as many real ones."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = seeded_clips(2 * num_clips, NUM_FRAMES, SIDE_PX, SIDE_PX, seed=2)
        for number, each in enumerate(clips):
            kind = "clip" if number < num_clips else "real"
            write_yuv(folder / f"{kind}-{number % num_clips:03d}.mp4", each)
        with (
            weights_of(inception, inception_state()) as inception_file,
            weights_of(i3d, i3d_state()),
            patch.object(clip_vit, "_load_clip", lambda *_: open_clip_b32()),
            patch.object(clip_vit, "sha256_of", lambda _: "seeded"),
        ):
            peers = PeerScores(
                folder,
                pytorch_fid(inception_state()),
                cd_fvd(i3d_state()),
                open_clip_b32(),
                inception_file,
            )
            ours = OurScores(folder)
            tasks: dict[str, Task] = {"peers": peers.scores}
            for backend, dtype in modes():
                tasks[f"ours {backend} {dtype}"] = lambda b=backend, d=dtype: ours.scores(b, d)
            scores = {key: task() for key, task in tasks.items()}
            return {**interleave(tasks, runs), "scores": scores, "peers_seconds": peers.seconds}


def main() -> None:
    """Prints what both took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3, help="Pairs, after a round to warm up.")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with torch.inference_mode():
        figures = {"peak_tflops": peaks(), **compare(given.clips, given.runs)}
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
