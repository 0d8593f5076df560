"""ConsistI2V as a model of the benchmark: its checkpoint, its options, its clips."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from i2vbench.clip import Clip, Geometry, Picture
from i2vbench.errors import UserError, did_you_mean
from i2vbench.model import Card, Model, Options, Request

from .checkpoint import (
    PUBLISHED_ID,
    checkpoint_folder,
    is_cached,
    read_config,
    stored_parameters,
    weights_identity,
)
from .noise import SampleDraws
from .offload import OFFLOADS
from .sampling import CheckpointSampling, Sampling
from .schedulers import PUBLISHED

if TYPE_CHECKING:
    from i2vbench.profile import Profile, ProfileSettings

    from .pipeline import ConsistI2VPipeline
    from .text_to_image import TextToImage

TINY_FOLDER: Final = Path(__file__).parent / "tiny"
# The published recipe trains at 256 pixels; its UNet inherits sample_size 64 (512 pixels) from
# Stable Diffusion.
_TRAINED_SIZE_PX: Final = 256
_PICTURE_SEED: Final = 0x5EED_F1A5
_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class ConsistI2VOptions(Options):
    """What a user may choose; None is the checkpoint's own value, else the published one."""

    num_inference_steps: int | None = None
    """50 published."""
    scheduler: str | None = None
    """ddim (published), dpmpp, euler, euler_a, heun, unipc, ... or a Diffusers class."""
    guidance_scale_text: float | None = None
    """7.5 published; at most 1 is off."""
    guidance_scale_image: float | None = None
    """1.0 published; at most 1 is off."""
    guidance_rescale: float | None = None
    """0 to 1; 0 published, which is off."""
    frame_stride: float | None = None
    """Speed asked of the network; 3 published."""
    frameinit: bool | None = None
    """On in the published configuration."""
    frameinit_noise_level: int | None = None
    """Of 0 to 999; 850 published."""
    frameinit_filter: str | None = None
    """gaussian (published), butterworth, ideal or box."""
    frameinit_d_s: float | None = None
    """Spatial cutoff; 0.25 published."""
    frameinit_d_t: float | None = None
    """Temporal cutoff; 0.25 published."""
    frameinit_iterations: int | None = None
    """1 published; above, FreeInit's further rounds."""
    noise: str | None = None
    """vanilla, pyoco_mixed (published) or pyoco_progressive."""
    noise_alpha: float | None = None
    """Weight of what frames share in their noise; 1.0 published."""
    negative_prompt: str | None = None
    """Empty published."""
    camera_motion: str | None = None
    """static (published), pan_left/right/up/down, zoom_in/out, rotate_cw/ccw."""
    segments: int = 1
    """S > 1: long video of S(T-1)+1 frames, each segment from the last frame of the one before."""
    t2i: str | None = None
    """Text-to-video: a Diffusers text-to-image pipeline, folder or id, draws all first frames."""
    compile: bool = False
    """Compile the UNet (torch.compile)."""
    offload: str = "none"
    """For small GPUs: ``model`` keeps one network there at a time, ``sequential`` one layer."""
    checkpoint: str | None = None
    """A folder, a Hugging Face id, ``tiny`` or ``published``; None picks one."""
    revision: str | None = None
    """Of the Hugging Face repository."""
    allow_pickle: bool = False
    """Also read ``.bin`` files, by torch's tensors-only loader, where no safetensors are."""

    def __post_init__(self) -> None:
        Sampling(**self.sampling_values())
        if type(self.segments) is not int or not 1 <= self.segments <= 1000:
            raise UserError(f"segments={self.segments!r}; accepted: an integer from 1 to 1000")
        if self.offload not in OFFLOADS:
            raise UserError(f"offload={self.offload!r}: {did_you_mean(self.offload, OFFLOADS)}")
        for name in ("compile", "allow_pickle"):
            if not isinstance(getattr(self, name), bool):
                raise UserError(f"{name}={getattr(self, name)!r}; accepted: true or false")

    def sampling_values(self) -> dict[str, Any]:
        """What the user chose of the sampling."""
        values = {field.name: getattr(self, field.name) for field in fields(Sampling)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A checkpoint and the reason for it."""

    name: str
    """As on the card."""
    source: str
    """Folder or Hugging Face id."""
    reason: str


def choose_checkpoint(asked: str | None, revision: str | None) -> Choice:
    """The checkpoint asked for; else the published one if cached or a GPU is there; else the tiny.

    Raises:
        UserError: a revision without a Hugging Face checkpoint.
    """
    if asked is None:
        if is_cached(PUBLISHED_ID, revision):
            return Choice(
                name="consisti2v",
                source=PUBLISHED_ID,
                reason=f"the published checkpoint {PUBLISHED_ID}: it is in the Hugging Face cache",
            )
        if torch.cuda.is_available():
            return Choice(
                name="consisti2v",
                source=PUBLISHED_ID,
                reason=f"the published checkpoint {PUBLISHED_ID}: a CUDA device is there",
            )
        reason = (
            f"the embedded tiny checkpoint: {PUBLISHED_ID} is not in the Hugging Face cache and no "
            f"CUDA device is there; -a checkpoint=published takes it all the same"
        )
        choice = Choice(name="consisti2v-tiny", source=str(TINY_FOLDER), reason=reason)
    elif asked == "tiny":
        choice = Choice(
            name="consisti2v-tiny",
            source=str(TINY_FOLDER),
            reason="the embedded tiny checkpoint: asked for",
        )
    else:
        source = PUBLISHED_ID if asked == "published" else asked
        return Choice(name="consisti2v", source=source, reason=f"checkpoint {source}: asked for")
    if revision is not None:
        raise UserError(
            f"revision={revision!r} without a Hugging Face checkpoint; "
            "give checkpoint=published or a repository id with it"
        )
    return choice


class ConsistI2V(Model):
    """The bundled reference model (Ren et al., TMLR 2024)."""

    modes = frozenset({"image-to-video", "text-to-video"})
    options_type = ConsistI2VOptions
    options: ConsistI2VOptions

    @cached_property
    def choice(self) -> Choice:
        """Which checkpoint, and why."""
        return choose_checkpoint(self.options.checkpoint, self.options.revision)

    @cached_property
    def folder(self) -> Path:
        """The checkpoint's folder; of a repository, its configurations alone may lie there yet."""
        return checkpoint_folder(
            self.choice.source, revision=self.options.revision, without_weights=True
        )

    @cached_property
    def own(self) -> CheckpointSampling:
        """What the checkpoint says about its sampling."""
        return CheckpointSampling.read(self.folder)

    @cached_property
    def sampling(self) -> Sampling:
        """The user's choices over the checkpoint's over the published ones."""
        values = {**self.own.values, **self.options.sampling_values()}
        if self._is_text_to_video and self.options.frameinit is None:
            values["frameinit"] = False
        return Sampling(**values)

    @cached_property
    def _is_text_to_video(self) -> bool:
        """Whether the network itself takes no first frame (mode ``none``)."""
        stored = read_config(self.folder / "unet")
        return bool(stored.get("first_frame_condition_mode") == "none")

    @cached_property
    def text_to_image(self) -> TextToImage | None:
        """What draws the first frames, if option ``t2i`` asks for it."""
        if self.options.t2i is None:
            return None
        if self._is_text_to_video:
            raise UserError(
                f"t2i={self.options.t2i!r} with a checkpoint that needs no first frame; omit it"
            )
        from .text_to_image import TextToImage

        return TextToImage(
            self.options.t2i, device=self.device, dtype=_DTYPES[self.dtype or "fp32"]
        )

    @property
    def geometry(self) -> Geometry:
        """As the checkpoint was trained."""
        unet = read_config(self.folder / "unet")
        vae = read_config(self.folder / "vae")
        size = unet.get("sample_size", 64) * 2 ** (len(vae["block_out_channels"]) - 1)
        size = min(size, _TRAINED_SIZE_PX)
        return Geometry(
            num_frames=self.options.segments * (unet.get("n_frames", 16) - 1) + 1,
            height=self.own.height or size,
            width=self.own.width or size,
            fps=self.own.fps,
        )

    def describe(self) -> Card:
        """The card; reads configurations and, for a folder, the weight files to hash them."""
        options = asdict(self.sampling)
        notes = [self.choice.reason]
        if self.sampling.scheduler != PUBLISHED:
            notes.append(f"scheduler {self.sampling.scheduler}; the published one is {PUBLISHED}")
        if self.text_to_image is not None:
            options["t2i"] = self.text_to_image.identity()
            notes.append(f"text-to-video: {self.options.t2i} draws the first frames")
        return Card(
            name=self.choice.name,
            version="2",
            weights=self._weights,
            options=options,
            num_parameters=self._num_parameters,
            notes=tuple(notes),
        )

    @cached_property
    def _num_parameters(self) -> int:
        stored = stored_parameters(self.folder)
        if stored is None:
            from .networks import count_parameters

            return count_parameters(self.folder)
        return stored

    @cached_property
    def _weights(self) -> str:
        return weights_identity(self.folder)

    @cached_property
    def pipeline(self) -> ConsistI2VPipeline:
        """The networks, loaded on first use."""
        from .pipeline import ConsistI2VPipeline

        # A repository may move on between card and weights: the card's commit is the one to load.
        is_local = Path(self.choice.source).expanduser().is_dir()
        return ConsistI2VPipeline.from_pretrained(
            self.choice.source,
            revision=None if is_local else self.folder.name,
            device=self.device,
            dtype=_DTYPES[self.dtype or "fp32"],
            offload=self.options.offload,
            compile_unet=self.options.compile,
            allow_pickle=self.options.allow_pickle,
        )

    def profile(self, settings: ProfileSettings) -> Profile:
        """What it costs, by part; see :mod:`.profiling`."""
        from .profiling import profile

        return profile(self, settings)

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        """Yields one clip per request, in order.

        Raises:
            ValueError: a sample without a first frame, or a geometry that the network cannot make.
            FloatingPointError: a network gave NaN or infinite numbers.
        """
        for geometry, group in itertools.groupby(requests, key=lambda request: request.geometry):
            yield from self._generate(geometry, list(group))

    def _generate(self, geometry: Geometry, requests: Sequence[Request]) -> Iterator[Clip]:
        per_segment = self.pipeline.num_frames - 1
        num_segments, rest = divmod(geometry.num_frames - 1, per_segment)
        if num_segments < 1 or rest:
            raise ValueError(
                f"clips of {geometry.num_frames} frames; {self.choice.name} makes "
                f"{per_segment + 1}, or longer ones of {2 * per_segment + 1}, "
                f"{3 * per_segment + 1}, ... frames"
            )
        clips = self.pipeline(
            [request.prompt for request in requests],
            self._first_frames(requests),
            SampleDraws([request.generator() for request in requests]),
            self.sampling,
            height=geometry.height,
            width=geometry.width,
            num_segments=num_segments,
        )
        for frames in clips:
            yield Clip(frames=frames, fps=geometry.fps)

    def _first_frames(self, requests: Sequence[Request]) -> list[Picture] | None:
        if self.text_to_image is not None:
            # Seeds of their own: a picture from the clip's noise would not be independent of it.
            generators = [
                torch.Generator().manual_seed(request.noise_seed ^ _PICTURE_SEED)
                for request in requests
            ]
            return self.text_to_image.draw([request.prompt for request in requests], generators)
        if self._is_text_to_video:
            return None
        pictures = []
        for request in requests:
            if request.first_frame is None:
                raise ValueError(
                    f"sample {request.sample.id!r} has no first frame; {self.choice.name} needs "
                    "one (option t2i draws it from the prompt)"
                )
            pictures.append(request.first_frame)
        return pictures
