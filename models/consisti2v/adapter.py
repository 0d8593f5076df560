"""ConsistI2V as a model of the benchmark: its checkpoint, its options, its clips."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from i2vbench.clip import Clip, Geometry
from i2vbench.errors import UserError
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
from .sampling import CheckpointSampling, Sampling

if TYPE_CHECKING:
    from .pipeline import ConsistI2VPipeline

TINY_FOLDER: Final = Path(__file__).parent / "tiny"
# The published recipe trains at 256 pixels; its UNet inherits sample_size 64 (512 pixels) from
# Stable Diffusion.
_TRAINED_SIZE_PX: Final = 256
_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class ConsistI2VOptions(Options):
    """What a user may choose; None is the checkpoint's own value, else the published one."""

    num_inference_steps: int | None = None
    """DDIM steps; 50 published."""
    guidance_scale_text: float | None = None
    """7.5 published; at most 1 is off."""
    guidance_scale_image: float | None = None
    """1.0 published; at most 1 is off."""
    guidance_rescale: float | None = None
    """0 to 1; 0 published, which is off."""
    frame_stride: int | None = None
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
    noise: str | None = None
    """vanilla, pyoco_mixed (published) or pyoco_progressive."""
    noise_alpha: float | None = None
    """Weight of what frames share in their noise; 1.0 published."""
    negative_prompt: str | None = None
    """Empty published."""
    checkpoint: str | None = None
    """A folder, a Hugging Face id, ``tiny`` or ``published``; None picks one."""
    revision: str | None = None
    """Of the Hugging Face repository."""

    def __post_init__(self) -> None:
        Sampling(**self.sampling_values())

    def sampling_values(self) -> dict[str, Any]:
        """What the user chose of the sampling."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value
            for name, value in values.items()
            if value is not None and name not in ("checkpoint", "revision")
        }


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
        return Sampling(**{**self.own.values, **self.options.sampling_values()})

    @property
    def geometry(self) -> Geometry:
        """As the checkpoint was trained."""
        unet = read_config(self.folder / "unet")
        vae = read_config(self.folder / "vae")
        size = unet.get("sample_size", 64) * 2 ** (len(vae["block_out_channels"]) - 1)
        size = min(size, _TRAINED_SIZE_PX)
        return Geometry(
            num_frames=unet.get("n_frames", 16),
            height=self.own.height or size,
            width=self.own.width or size,
            fps=self.own.fps,
        )

    def describe(self) -> Card:
        """The card; reads configurations and, for a folder, the weight files to hash them."""
        options = asdict(self.sampling)
        # No option of the adapter sets it.
        del options["camera_motion"]
        return Card(
            name=self.choice.name,
            version="1",
            weights=self._weights,
            options=options,
            num_parameters=self._num_parameters,
            notes=(self.choice.reason,),
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
        )

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        """Yields one clip per request, in order.

        Raises:
            ValueError: a sample without a first frame, or a geometry that the network cannot make.
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
        pictures = []
        for request in requests:
            if request.first_frame is None:
                raise ValueError(
                    f"sample {request.sample.id!r} has no first frame; {self.choice.name} needs one"
                )
            pictures.append(request.first_frame)
        clips = self.pipeline(
            [request.prompt for request in requests],
            pictures,
            SampleDraws([request.generator() for request in requests]),
            self.sampling,
            height=geometry.height,
            width=geometry.width,
            num_segments=num_segments,
        )
        for frames in clips:
            yield Clip(frames=frames, fps=geometry.fps)
