"""Scoring beside the peers: interleaved in one process, ratios as medians over pairs of runs.

    PYTHONPATH=. python benchmarks/scoring.py --part PART [--runs 5]

Prints JSON, with the peak of a matrix product before and after. Networks have seeded weights but
for LPIPS. Needs pytorch-fid, torch-fidelity, cd-fvd, decord and torchcodec; openvino for its rows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torchvision.transforms.functional import to_tensor

from i2vbench.clip import Clip
from i2vbench.device import has_arithmetic
from i2vbench.metric import Extractor
from i2vbench.metrics.features import clip_vit, i3d, inception
from i2vbench.metrics.features.clip_vit import CLIPExtractor
from i2vbench.metrics.features.i3d_published import TATSExtractor
from i2vbench.metrics.features.inception import InceptionExtractor
from i2vbench.metrics.frechet import frechet_distance, frechet_distance_from_moments
from i2vbench.video_io import read_video
from tests.metrics.seeded_weights import seeded_clips, seeded_state

Task = Callable[[], Any]
Found = dict[str, Any]

KEYS = Path("tests/data/published_networks")
NUM_FRAMES, SIDE_PX = 16, 256


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""CPU seconds, with ``--threads 1``, are what a machine with other work can still compare."""


def interleave(tasks: dict[str, Task], runs: int) -> Found:
    """Seconds of each task, and how many times as long as each of ours the peers (the rest) take.

    A warm-up round comes first. Ours are those whose name begins with ``ours``.
    """
    seconds: dict[str, dict[str, list[float]]] = {c: {n: [] for n in tasks} for c in CLOCKS}
    for number in range(runs + 1):
        for name, task in tasks.items():
            started = {clock: now() for clock, now in CLOCKS.items()}
            task()
            if number:
                for clock, now in CLOCKS.items():
                    seconds[clock][name].append(now() - started[clock])
    return {clock: compared(each) for clock, each in seconds.items()}


def compared(seconds: dict[str, list[float]]) -> Found:
    """Medians, and the medians of the ratios of pairs of runs."""
    ours = [name for name in seconds if name.startswith("ours")]
    ratios = {
        f"{peer} / {name}": statistics.median(
            theirs / mine for theirs, mine in zip(seconds[peer], seconds[name], strict=True)
        )
        for peer in seconds
        if peer not in ours
        for name in ours
    }
    return {"seconds": {n: statistics.median(s) for n, s in seconds.items()}, "ratios": ratios}


def peak_tflops(dtype: torch.dtype, side: int = 2048) -> dict[str, float]:
    """TFLOP/s of a matrix product by either clock, the best of three after one to warm up."""
    left, right = (torch.ones(side, side, dtype=dtype) for _ in range(2))
    found = least_seconds(lambda: left @ right)
    return {clock: 2 * side**3 / seconds / 1e12 for clock, seconds in found.items()}


def least_seconds(task: Task) -> dict[str, float]:
    """The least seconds of three runs by either clock, after one to warm up."""
    task()
    rounds = []
    for _ in range(3):
        started = {clock: now() for clock, now in CLOCKS.items()}
        task()
        rounds.append({clock: now() - started[clock] for clock, now in CLOCKS.items()})
    return {clock: min(each[clock] for each in rounds) for clock in CLOCKS}


def precisions() -> tuple[str, ...]:
    """Those that this CPU multiplies: scoring refuses the others."""
    return tuple(dtype for dtype in ("fp32", "bf16") if has_arithmetic(dtype))


def modes() -> list[tuple[str, str]]:
    """Backends and precisions that are here."""
    backends = ("torch", "openvino") if find_spec("openvino") else ("torch",)
    return [(backend, dtype) for backend in backends for dtype in precisions()]


def peaks() -> Found:
    """The peak in each precision."""
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    return {dtype: peak_tflops(kinds[dtype]) for dtype in precisions()}


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative, in the Euclidean norm."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@contextmanager
def weights_of(module: ModuleType, state: dict[str, torch.Tensor]) -> Iterator[Path]:
    """Inside, the module's extractors load ``state``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pt"
        torch.save(state, path)
        with (
            patch.object(module, "resolve", lambda _: path),
            patch.object(module, "sha256_of", lambda _: "seeded"),
        ):
            yield path


def ways(kind: type[Extractor]) -> dict[str, Extractor]:
    """The extractor in each mode."""
    return {
        f"ours {backend} {dtype}": kind(dtype=dtype, backend=backend) for backend, dtype in modes()
    }


def compare(
    peer: str, theirs: Task, ours: dict[str, Extractor], clip: Clip, key: str, runs: int
) -> Found:
    """Times, ratios, and how far our features are from the peer's."""
    tasks = {peer: theirs}
    for name, extractor in ours.items():
        tasks[name] = lambda e=extractor: e.extract([clip], [""])[0][key]
    expected = theirs()
    errors = {name: error(task(), expected) for name, task in tasks.items() if name != peer}
    return {**interleave(tasks, runs), "relative_error": errors}


def a_clip() -> Clip:
    """16 frames of 256x256."""
    (clip,) = seeded_clips(1, NUM_FRAMES, SIDE_PX, SIDE_PX, seed=1)
    return clip


def inception_state() -> dict[str, torch.Tensor]:
    """Seeded weights of Inception."""
    return seeded_state(json.loads((KEYS / "inception_keys.json").read_text()))


def i3d_state() -> dict[str, torch.Tensor]:
    """Seeded weights of I3D."""
    return seeded_state(json.loads((KEYS / "i3d_keys.json").read_text()))


def pytorch_fid(state: dict[str, torch.Tensor]) -> Callable[[Clip], np.ndarray]:
    """What pytorch-fid makes of a clip's frames."""
    import pytorch_fid.inception as peer

    with patch.object(peer, "load_state_dict_from_url", lambda *_, **__: state):
        network = peer.InceptionV3([3]).eval()

    def extract(clip: Clip) -> np.ndarray:
        features: np.ndarray = network(torch.stack([to_tensor(f) for f in clip.frames]))[0]
        return features.flatten(1).numpy()

    return extract


def cd_fvd(state: dict[str, torch.Tensor]) -> Callable[[Clip], np.ndarray]:
    """What cd-fvd makes of a clip."""
    from cdfvd.third_party.i3d.pytorch_i3d import InceptionI3d
    from cdfvd.third_party.i3d.utils import preprocess_i3d

    network = InceptionI3d(400, in_channels=3).eval()
    network.load_state_dict(state, strict=False)
    return lambda clip: network(preprocess_i3d(clip.frames[None]))[0].numpy()


def open_clip_b32() -> CLIP:
    """open_clip's ViT-B/32 in the layout of OpenAI's, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vision = CLIPVisionCfg(layers=12, width=768, patch_size=32, image_size=224)
        return CLIP(512, vision, CLIPTextCfg(), quick_gelu=True).eval().requires_grad_(False)


def fid(runs: int) -> Found:
    """A clip's frames to features of 2048: pixels to arrays, the resize included."""
    state, clip = inception_state(), a_clip()
    theirs = pytorch_fid(state)
    with weights_of(inception, state):
        ours = ways(InceptionExtractor)
    return compare("pytorch-fid", lambda: theirs(clip), ours, clip, "pooled", runs)


def fvd(runs: int) -> Found:
    """A clip to logits: pixels to arrays, the resize included."""
    state, clip = i3d_state(), a_clip()
    theirs = cd_fvd(state)
    with weights_of(i3d, state):
        ours = ways(TATSExtractor)
    return compare("cd-fvd", lambda: theirs(clip), ours, clip, "logits", runs)


def clip(runs: int) -> Found:
    """A clip's frames to embeddings of 512: pixels to arrays, the resize included."""
    from open_clip.transform import image_transform
    from PIL import Image

    network, transform, frames = open_clip_b32(), image_transform(224, is_train=False), a_clip()

    def theirs() -> np.ndarray:
        batch = torch.stack([transform(Image.fromarray(frame)) for frame in frames.frames])
        embeddings: np.ndarray = network.encode_image(batch, normalize=True).numpy()
        return embeddings

    class Frames(CLIPExtractor):
        """Without the prompt's embedding, which the peer does not make either."""

        def extract(
            self, clips: Sequence[Clip], prompts: Sequence[str]
        ) -> list[dict[str, np.ndarray]]:
            return [{"frames": self._encode_frames(each.frames).numpy()} for each in clips]

    with patch.object(clip_vit, "_load_clip", lambda *_: open_clip_b32()):
        ours = ways(Frames)
    return compare("open_clip", theirs, ours, frames, "frames", runs)


def lpips(runs: int) -> Found:
    """A clip's frames with its first one, and with those of another clip."""
    import lpips as peer

    from i2vbench.metrics.features.lpips_alexnet import LPIPSExtractor

    frames, others = (each.frames for each in seeded_clips(2, NUM_FRAMES, SIDE_PX, SIDE_PX, seed=1))
    with patch("builtins.print"):
        network = peer.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False).eval()
    extractor = LPIPSExtractor()
    network.load_state_dict(extractor.network.state_dict())

    def theirs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        pair = (torch.from_numpy(each).permute(0, 3, 1, 2) / 127.5 - 1 for each in (a, b))
        distances: np.ndarray = network(*pair).flatten().double().numpy()
        return distances

    found = {}
    for name, ours_b, their_b in (
        ("first frame", frames[:1], frames[:1].repeat(NUM_FRAMES, axis=0)),
        ("reference", others, others),
    ):
        tasks: dict[str, Task] = {
            "lpips": lambda b=their_b: theirs(frames, b),
            # As common_metrics_on_video_quality calls it.
            "lpips, a pair at a time": lambda b=their_b: [
                theirs(frames[i : i + 1], b[i : i + 1]) for i in range(NUM_FRAMES)
            ],
            "ours": lambda b=ours_b: extractor.distances(frames, b),
        }
        errors = {"ours": error(tasks["ours"](), tasks["lpips"]())}
        found[name] = {**interleave(tasks, runs), "relative_error": errors}
    return found


def moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance, as the peers take them."""
    return rows.mean(0), np.cov(rows, rowvar=False)


def frechet(runs: int, num_features: int = 2048, sizes: tuple[int, int] = (5000, 500)) -> Found:
    """From moments where N > D, from features where N < D, as each is quickest.

    Errors are relative to the nuclear norm of the product of the centred factors in float64, by
    singular values proper: slow, and right at any rank.
    """
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    random = np.random.RandomState(0)
    mixing = random.standard_normal((num_features, num_features))
    mixing *= np.arange(1, num_features + 1) ** -0.5
    found: Found = {}
    for num_rows in sizes:
        x, y = (
            np.maximum(random.standard_normal((num_rows, num_features)) @ mixing + 0.1 * i, 0)
            for i in range(2)
        )
        stats = [dict(zip(("mu", "sigma"), moments(rows), strict=True)) for rows in (x, y)]
        mus = [value for each in stats for value in each.values()]

        def fidelity(stats: list[Any] = stats) -> float:
            made = fid_statistics_to_metric(*stats, verbose=False)
            return float(made["frechet_inception_distance"])

        tasks: dict[str, Task] = {
            "pytorch-fid": lambda mus=mus: calculate_frechet_distance(*mus),
            "torch-fidelity": fidelity,
            "ours from moments": lambda mus=mus: frechet_distance_from_moments(*mus),
        }
        if num_rows < num_features:
            tasks |= {
                "pytorch-fid": lambda x=x, y=y: calculate_frechet_distance(
                    *moments(x), *moments(y)
                ),
                "torch-fidelity": lambda x=x, y=y: fid_statistics_to_metric(
                    *(fid_features_to_statistics(torch.from_numpy(rows)) for rows in (x, y)),
                    verbose=False,
                )["frechet_inception_distance"],
                "ours": lambda x=x, y=y: frechet_distance(x, y),
            }
        exact = exact_distance(x, y)
        errors = {name: abs(task() - exact) / exact for name, task in tasks.items()}
        found[f"N={num_rows}"] = {**interleave(tasks, runs), "relative_error": errors}
    bad = x.copy()
    bad[3, 5] = np.nan
    started = time.perf_counter()
    try:
        frechet_distance(bad, y)
    except ValueError as refused:
        found["NaN"] = {"seconds": time.perf_counter() - started, "error": str(refused)}
    return found


def exact_distance(x: np.ndarray, y: np.ndarray) -> float:
    """The distance by the singular values of the product of factors."""
    centred = [(rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (x, y)]
    factors = [np.linalg.qr(each, mode="r") if len(x) > x.shape[1] else each for each in centred]
    overlap = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    offset = np.square(x.mean(0) - y.mean(0)).sum()
    return float(offset + sum(np.square(each).sum() for each in centred) - 2 * overlap)


def write_yuv(path: Path, clip: Clip) -> None:
    """H.264 in YUV 4:2:0 at crf 20, what models' own savers write."""
    import av

    _, height, width, _ = clip.frames.shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in clip.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def drifting_clip(num_frames: int, side: int) -> Clip:
    """A smooth picture that drifts: the bits per pixel of video, which noise has not."""
    (noise,) = seeded_clips(1, 1, side // 8, side // 8, seed=1)
    picture = torch.from_numpy(noise.frames).permute(0, 3, 1, 2).float()
    smooth = torch.nn.functional.interpolate(picture, size=(side, side), mode="bicubic")
    frame = smooth[0].permute(1, 2, 0).clamp(0, 255).byte().numpy()
    return Clip(frames=np.stack([np.roll(frame, 3 * t, 1) for t in range(num_frames)]), fps=8)


def decode(runs: int) -> Found:
    """Files of 16 frames of 256x256 and of 64 of 512x512 to RGB, two at a time in threads."""
    import av
    from decord import VideoReader, cpu
    from torchcodec.decoders import VideoDecoder

    def by_decord(path: str) -> np.ndarray:
        reader = VideoReader(path, ctx=cpu(0), num_threads=1)
        frames: np.ndarray = reader.get_batch(range(len(reader))).asnumpy()
        return frames

    def by_pyav(path: str) -> np.ndarray:
        with av.open(path) as container:
            container.streams.video[0].thread_count = 1
            frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        return np.stack(frames)

    def by_torchcodec(path: str) -> np.ndarray:
        decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1)
        return decoder[:].numpy()

    readers = {
        "decord": by_decord,
        "PyAV": by_pyav,
        "torchcodec": by_torchcodec,
        "ours": lambda path: read_video(path).frames,
    }
    found = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        for num_files, num_frames, side in ((16, 16, 256), (4, 64, 512)):
            files = [str(Path(folder) / f"{side}-{i}.mp4") for i in range(num_files)]
            for path in files:
                write_yuv(Path(path), drifting_clip(num_frames, side))
            expected = by_pyav(files[0])
            for name, reader in readers.items():
                assert np.array_equal(reader(files[0]), expected), name
            tasks: dict[str, Task] = {
                name: lambda reader=reader, files=files: list(pool.map(reader, files))
                for name, reader in readers.items()
            }
            found[f"{num_files} x {num_frames} x {side}"] = interleave(tasks, runs)
    return found


def main() -> None:
    """Runs one part."""
    parts: dict[str, Callable[[int], Found]] = {
        "fid": fid,
        "fvd": fvd,
        "lpips": lpips,
        "clip": clip,
        "frechet": frechet,
        "decode": decode,
    }
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", choices=list(parts), required=True)
    parser.add_argument("--runs", type=int, default=5, help="Pairs, after a round to warm up.")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with torch.inference_mode():
        before = peaks()
        found = parts[given.part](given.runs)
        after = peaks()
    figures = {"part": given.part, "peak_tflops": {"before": before, "after": after}, **found}
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
