"""What can be named on the command line, and where it lives.

Three sources, in order: the built-in tables below ("module:attribute", nothing imported until it is
used), entry points of installed packages, and ``path/to/file.py:Name``.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from i2vbench.errors import UserError, did_you_mean
from i2vbench.plain_text import error_line
from i2vbench.user_file import load_user_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A name with its place and one line about it."""

    name: str
    target: str
    summary: str
    source: str = "built in"


class Registry:
    """Names of one kind."""

    def __init__(self, kind: str, builtin: dict[str, tuple[str, str]]) -> None:
        """Takes ``name -> (module:attribute, one line)``."""
        self.kind = kind
        self._builtin = builtin

    def _installed(self) -> Iterator[EntryPoint]:
        for point in entry_points(group=f"i2vbench.{self.kind}s"):
            if point.name in self._builtin:
                logger.warning(
                    "%s %r of package %s hides behind the built-in one; its authors must rename it",
                    self.kind,
                    point.name,
                    point.dist.name if point.dist else "?",
                )
            else:
                yield point

    def entries(self) -> list[Entry]:
        """All names, sorted; imports nothing."""
        found = [Entry(name=n, target=t, summary=s) for n, (t, s) in self._builtin.items()]
        for point in self._installed():
            package = point.dist.name if point.dist else "?"
            found.append(Entry(name=point.name, target=point.value, summary="", source=package))
        return sorted(found, key=lambda entry: entry.name)

    def load(self, name: str) -> Any:  # noqa: ANN401
        """The object behind ``name``.

        Raises:
            UserError: no such name, file or attribute.
        """
        path, _, attribute = name.rpartition(":")
        if path.endswith(".py"):
            return load_user_file(self.kind, Path(path), attribute)
        if name in self._builtin:
            module, attribute = self._builtin[name][0].split(":")
            return getattr(importlib.import_module(module), attribute)
        installed = {point.name: point for point in self._installed()}
        if name not in installed:
            accepted = did_you_mean(name, [*self._builtin, *installed])
            raise UserError(
                f"{self.kind} {name!r} is unknown: {accepted} (or path/to/file.py:Name)"
            )
        try:
            return installed[name].load()
        except (Exception, SystemExit) as error:
            raise UserError(
                f"{self.kind} {name!r} ({installed[name].value}) does not load: {error_line(error)}"
            ) from error


MODELS = Registry(
    "model",
    {
        "consisti2v": (
            "i2vbench.models.consisti2v.adapter:ConsistI2V",
            "ConsistI2V (TMLR 2024): first-frame conditioning, FrameInit; tiny one inside",
        ),
        "static": ("i2vbench.models.baselines:Static", "baseline: the first frame, repeated"),
        "reference": ("i2vbench.models.baselines:Reference", "baseline: the real clip itself"),
    },
)

METRICS = Registry(
    "metric",
    {
        "fvd": ("i2vbench.metrics.frechet:FVD", "Fréchet distance of I3D Kinetics-400 logits"),
        "fid": ("i2vbench.metrics.frechet:FID", "Fréchet distance of frame features"),
        "fvd_infinity": (
            "i2vbench.metrics.frechet_extrapolation:FVDInfinity",
            "FVD extrapolated to infinitely many clips",
        ),
        "kvd": ("i2vbench.metrics.kernel_distance:KVD", "kernel distance of I3D logits"),
        "kid": ("i2vbench.metrics.kernel_distance:KID", "kernel distance of frame features"),
        "precision": (
            "i2vbench.metrics.manifold:Precision",
            "share of clips near real ones, in I3D logits",
        ),
        "recall": ("i2vbench.metrics.manifold:Recall", "share of real clips near generated ones"),
        "density": ("i2vbench.metrics.manifold:Density", "how densely real clips surround a clip"),
        "coverage": (
            "i2vbench.metrics.manifold:Coverage",
            "share of real clips with a generated one nearby",
        ),
        "is": ("i2vbench.metrics.inception_score:InceptionScore", "inception score of frames"),
        "clipsim": ("i2vbench.metrics.clipsim:CLIPSIM", "CLIP similarity of frames and prompt"),
        "overall_consistency": (
            "i2vbench.metrics.overall_consistency:OverallConsistency",
            "VBench: similarity of the clip as a whole and its prompt by ViCLIP",
        ),
        "lpips_first_frame": (
            "i2vbench.metrics.lpips:LPIPSFirstFrame",
            "LPIPS between each frame and the first frame given",
        ),
        "lpips_reference": (
            "i2vbench.metrics.lpips:LPIPSReference",
            "LPIPS between each frame and the real one",
        ),
        "subject_consistency": (
            "i2vbench.metrics.consistency:SubjectConsistency",
            "VBench: similarity of each frame with the first and the previous one",
        ),
        "background_consistency": (
            "i2vbench.metrics.consistency:BackgroundConsistency",
            "VBench: the same formula on image-text features",
        ),
        "i2v_subject": (
            "i2vbench.metrics.i2v_similarity:I2VSubject",
            "VBench-I2V: similarity of frames with the first frame given, and steadiness",
        ),
        "i2v_background": (
            "i2vbench.metrics.i2v_similarity:I2VBackground",
            "VBench-I2V: the formula of i2v_subject on DreamSim's embeddings",
        ),
        "camera_motion": (
            "i2vbench.metrics.camera_motion:CameraMotion",
            "VBench-I2V: share of the asked camera motions that are seen",
        ),
        "aesthetic_quality": (
            "i2vbench.metrics.frame_quality:AestheticQuality",
            "VBench: marks of the frames by LAION's aesthetic predictor",
        ),
        "imaging_quality": (
            "i2vbench.metrics.frame_quality:ImagingQuality",
            "VBench: marks of the frames by MUSIQ, for blur and noise",
        ),
        "motion_smoothness": (
            "i2vbench.metrics.motion:MotionSmoothness",
            "VBench: error of odd frames interpolated from even ones",
        ),
        "temporal_flickering": (
            "i2vbench.metrics.motion:TemporalFlickering",
            "VBench: mean difference of neighbouring frames",
        ),
        "dynamic_degree": (
            "i2vbench.metrics.motion:DynamicDegree",
            "VBench: share of clips with large optical flow",
        ),
        "motion_following": (
            "i2vbench.metrics.motion_following:MotionFollowing",
            "playground: share of the asked motions of subject and camera that are seen",
        ),
    },
)

EXTRACTORS = Registry(
    "extractor",
    {
        "i3d": (
            "i2vbench.metrics.features.i3d:I3DExtractor",
            "I3D Kinetics-400, 400 logits a clip",
        ),
        "i3d-tats": (
            "i2vbench.metrics.features.i3d_published:TATSExtractor",
            "I3D of TATS: frames squashed, 400 logits a clip",
        ),
        "i3d-cd-fvd": (
            "i2vbench.metrics.features.i3d_published:CdFVDExtractor",
            "I3D of TATS behind the loader of cd-fvd",
        ),
        "i3d-videogpt": (
            "i2vbench.metrics.features.i3d_published:VideoGPTExtractor",
            "I3D of TATS, frames cropped as in VideoGPT",
        ),
        "i3d-styleganv": (
            "i2vbench.metrics.features.i3d_published:StyleGANVExtractor",
            "I3D of StyleGAN-V (TorchScript), which resizes itself",
        ),
        "i3d-styleganv-cropped": (
            "i2vbench.metrics.features.i3d_published:StyleGANVCroppedExtractor",
            "I3D of StyleGAN-V, frames cropped as in common_metrics_on_video_quality",
        ),
        "c3d-ucf101": (
            "i2vbench.metrics.features.c3d:C3DExtractor",
            "C3D of UCF-101 (TorchScript), 101 classes a clip of 16 frames, for the video IS",
        ),
        "inception": (
            "i2vbench.metrics.features.inception:InceptionExtractor",
            "Inception-2015 as pytorch-fid, 2048 features and 1008 logits a frame",
        ),
        "inception-torch-fidelity": (
            "i2vbench.metrics.features.inception:TorchFidelityExtractor",
            "Inception-2015 as torch-fidelity, TensorFlow 1's resize",
        ),
        "inception-torchmetrics": (
            "i2vbench.metrics.features.inception:TorchmetricsExtractor",
            "Inception-2015 as torchmetrics, antialiased resize",
        ),
        "inception-nvidia": (
            "i2vbench.metrics.features.inception_nvidia:InceptionNVIDIAExtractor",
            "Inception-2015 of StyleGAN (TorchScript), which resizes itself",
        ),
        "inception-clean": (
            "i2vbench.metrics.features.inception_nvidia:CleanFIDExtractor",
            "Inception-2015 of StyleGAN behind clean-fid's bicubic resize",
        ),
        "efficientnet-lite0": (
            "i2vbench.metrics.features.efficientnet:EfficientNetExtractor",
            "EfficientNet-Lite0 ImageNet, 1280 features and 1000 logits a frame",
        ),
        "tiny-clip": (
            "i2vbench.metrics.features.tiny_clip:TinyCLIPExtractor",
            "CLIP trained on playground scenes: frame and prompt embeddings",
        ),
        "clip-vit-b32": (
            "i2vbench.metrics.features.clip_vit:CLIPExtractor",
            "CLIP ViT-B/32 with its own preprocessing: frame and prompt embeddings",
        ),
        "clip-vit-b32-vbench": (
            "i2vbench.metrics.features.clip_vit:VBenchCLIPExtractor",
            "CLIP ViT-B/32 behind VBench's resize: frame embeddings",
        ),
        "viclip": (
            "i2vbench.metrics.features.viclip:ViCLIPExtractor",
            "ViCLIP-L/14 of 8 frames: clip and prompt embeddings",
        ),
        "laion-aesthetic": (
            "i2vbench.metrics.features.clip_vit:LAIONAestheticExtractor",
            "CLIP ViT-L/14 behind VBench's resize, and LAION's aesthetic marks",
        ),
        "musiq": (
            "i2vbench.metrics.features.musiq:MUSIQExtractor",
            "MUSIQ of SPAQ: a mark a frame (needs i2vbench[pyiqa]; non-commercial)",
        ),
        "dino-vit-b16": (
            "i2vbench.metrics.features.dino:DINOExtractor",
            "DINO ViT-B/16 of whole frames as VBench, 768 features a frame",
        ),
        "dino-vit-b16-i2v": (
            "i2vbench.metrics.features.dino:I2VSubjectDINOExtractor",
            "DINO ViT-B/16 of cropped frames and pictures as VBench-I2V",
        ),
        "dreamsim": (
            "i2vbench.metrics.features.dreamsim:DreamSimExtractor",
            "DreamSim's ensemble of three ViT-B/16, 1792 features a frame or picture",
        ),
        "flow": (
            "i2vbench.metrics.features.flow:FlowExtractor",
            "optical flow (OpenCV DIS, or RAFT when its weights are there): motion statistics",
        ),
        "raft": (
            "i2vbench.metrics.features.flow:RaftExtractor",
            "optical flow by RAFT alone: the same motion statistics",
        ),
        "cotracker": (
            "i2vbench.metrics.features.cotracker:CoTrackerExtractor",
            "CoTracker2: tracks of 10 x 10 points (needs its package from git; non-commercial)",
        ),
        "lpips-alexnet": (
            "i2vbench.metrics.features.lpips_alexnet:LPIPSExtractor",
            "LPIPS's AlexNet and heads v0.1: distances of two frames",
        ),
        "amt-s": (
            "i2vbench.metrics.features.amt:AMTExtractor",
            "AMT-S: error of odd frames interpolated from even ones (weights CC BY-NC)",
        ),
    },
)

SUITES = Registry(
    "suite",
    {
        "playground": (
            "i2vbench.suites.playground.suite:load",
            "64 procedural moving scenes with captions and real clips, and 8 photographs",
        ),
        "ucf101": (
            "i2vbench.suites.ucf101:UCF101",
            "ucf101:DIR, 2048 real clips of UCF-101 by class distribution, a prompt per class",
        ),
        "msrvtt": (
            "i2vbench.suites.msrvtt:MSRVTT",
            "msrvtt:DIR, the 2990 test videos of MSR-VTT, one caption each",
        ),
        "i2v-bench": (
            "i2vbench.suites.i2v_bench:I2V_BENCH",
            "i2v-bench:DIR, the 2951 captioned videos of I2V-Bench by category",
        ),
        "vbench-i2v": (
            "i2vbench.suites.vbench_i2v:VBENCH_I2V",
            "vbench-i2v:DIR, 1118 prompts for 355 pictures at the model's ratio, 5 takes",
        ),
        "animatebench": (
            "i2vbench.suites.animatebench:ANIMATEBENCH",
            "animatebench:DIR, 105 cases: 35 pictures in 7 styles, 3 prompts each",
        ),
        "folder": (
            "i2vbench.suites.any_folder:FOLDER",
            "folder:DIR, any folder of pictures and videos, prompts in .txt files beside them",
        ),
        "hub": (
            "i2vbench.suites.hub:HUB",
            "hub:OWNER/NAME, any data set of the Hugging Face hub (needs i2vbench[hub])",
        ),
        "table": (
            "i2vbench.suites.any_table:TABLE",
            "table:FILE, any CSV, TSV or JSON lines; options name its columns",
        ),
    },
)

PROTOCOLS = Registry(
    "protocol",
    {
        "embedded": (
            "i2vbench.metrics.protocols:EMBEDDED",
            "every metric with the network that ships inside; not comparable with papers",
        ),
        "consisti2v-paper": (
            "i2vbench.metrics.protocols:CONSISTI2V_PAPER",
            "ConsistI2V's table 1: FVD, IS, FID (UCF-101), FVD, CLIPSIM (MSR-VTT)",
        ),
        "i2v-bench": (
            "i2vbench.metrics.protocols:I2V_BENCH",
            "I2V-Bench: the eight columns of its tables",
        ),
        "stylegan-v": (
            "i2vbench.metrics.protocols:STYLEGAN_V",
            "StyleGAN-V: FVD with population covariance, IS of C3D",
        ),
        "videogpt": (
            "i2vbench.metrics.protocols:VIDEOGPT",
            "VideoGPT: FVD of 16 frames, unbiased covariance",
        ),
        "cd-fvd": (
            "i2vbench.metrics.protocols:CD_FVD",
            "content-debiased FVD's I3D variant, population covariance",
        ),
        "vbench-i2v": (
            "i2vbench.metrics.protocols:VBENCH_I2V",
            "VBench-I2V: nine dimensions, quality, I2V and total",
        ),
        "vbench-i2v-2024": (
            "i2vbench.metrics.protocols:VBENCH_I2V_2024",
            "VBench-I2V as papers of 2024 reprint it: the old total",
        ),
    },
)
