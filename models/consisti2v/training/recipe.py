"""The training recipe: what ConsistI2V was trained with, and what may be changed.

The defaults are the published configuration (Ren et al., TMLR 2024, arXiv:2402.04324, and its
`configs/training`); comments name what the paper leaves open.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from i2vbench.errors import UserError, did_you_mean

PREDICTIONS: Final = ("epsilon", "v_prediction")
PRECISIONS: Final = ("fp32", "bf16", "fp16")
NOISES: Final = ("vanilla", "pyoco_mixed", "pyoco_progressive")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Options of `i2vbench train consisti2v`; keys of its YAML file and of `-a`."""

    pretrained: str = "stabilityai/stable-diffusion-2-1-base"
    """What training starts from: an image model, or a video checkpoint; a folder or an id."""
    webvid_json: str | None = None
    """JSON lines {"text", "file"}."""
    webvid_folder: str = "."
    """Where its files lie; of a name that starts with "/", only the last part counts."""
    pexels_json: str | None = None
    """JSON lines {"id", "file", "width", "height"}; portrait and nearly square ones are left out.

    Joint training draws from both lists as one.
    """
    pexels_captions: str | None = None
    """JSON lines {"id", "text"}."""
    pexels_folder: str = "."
    size_px: int = 256
    """Side of the square clips, pixels."""
    num_frames: int = 16
    """Of a clip, the condition frame included."""
    stride_min: int = 1
    """Smallest frame stride, in frames of the source; the stride is a condition of the network."""
    stride_max: int = 5
    """Largest frame stride, included."""
    flip: float = 0.5
    """How often a clip is mirrored."""
    max_bad_fraction: float = 0.05
    """Share of unreadable files, of those drawn so far (100 at least), above which it stops."""

    prediction: str = "epsilon"
    """"epsilon", or "v_prediction" (Salimans & Ho 2022, arXiv:2202.00512)."""
    zero_snr: bool = False
    """Rescale the betas to no signal at the last step (Lin et al. 2023, arXiv:2305.08891)."""
    noise: str = "pyoco_mixed"
    """"vanilla", "pyoco_mixed" or "pyoco_progressive" (Ge et al. 2023, arXiv:2305.10474)."""
    noise_alpha: float = 1.0
    """Weight of the noise that frames share."""
    text_dropout: float = 0.1
    image_dropout: float = 0.1
    """The first frame is replaced by its own noisy self; independent of the text's dropout."""
    first_frame_condition_mode: str = "concat"
    augment_temporal_attention: bool = True
    n_temp_heads: int = 8
    temp_pos_embedding: str = "rotary"

    trainable: str = "all"
    """"all", "temporal", or parts of parameter names, separated by commas."""
    steps: int = 200_000
    batch_size: int = 3
    """Clips of a process at a time; the published run used several GPUs."""
    gradient_accumulation: int = 1
    """Batches of each process that one step averages."""
    learning_rate: float = 5e-5
    warmup_steps: int = 0
    """Linear; constant afterwards."""
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    weight_decay: float = 1e-2
    """On all parameters that are trained."""
    max_grad_norm: float = 0.5
    ema: bool = False
    """Also average the weights; what is validated and written in the end is then the average."""
    ema_decay: float = 0.9999
    mixed_precision: str = "bf16"
    """"bf16", "fp16" or "fp32".

    The master weights are float32, and so are latents and noise: in the original's bf16 the
    schedule has 826 different values for 1000 steps.
    """
    gradient_checkpointing: bool = False
    """Recompute each layer in the backward pass: less memory, a third more time, same gradients."""
    seed: int = 42

    num_workers: int = 2
    """Processes that read videos, for each training process; 0 reads in the training process."""
    save_every: int = 1000
    """Steps between two states to resume from."""
    keep_states: int = 2
    """The newest ones; older ones are removed."""
    validate_every: int = 0
    """Steps between two validation grids; 0 for none."""
    validation_prompts: tuple[str, ...] = ()
    """With a first frame each; without any, the first clips of the training data are taken."""
    validation_first_frames: tuple[str, ...] = ()
    validation_inference_steps: int = 50
    validation_frame_stride: int = 3
    tensorboard: bool = False
    """Write event files; needs `i2vbench[train]`."""

    def __post_init__(self) -> None:
        for name, low in _AT_LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise UserError(f"{name}={value!r}; accepted: an integer from {low}")
        for name, (least, most) in _WITHIN.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not least <= value <= most:
                raise UserError(f"{name}={value!r}; accepted: a number from {least:g} to {most:g}")
        for name, accepted in (
            ("prediction", PREDICTIONS),
            ("mixed_precision", PRECISIONS),
            ("noise", NOISES),
        ):
            if getattr(self, name) not in accepted:
                value = getattr(self, name)
                raise UserError(f"{name}={value!r}: {did_you_mean(str(value), accepted)}")
        if self.stride_max < self.stride_min:
            raise UserError(
                f"stride_max={self.stride_max} is below stride_min={self.stride_min}; "
                "accepted: stride_min or more"
            )
        if self.zero_snr and self.prediction != "v_prediction":
            raise UserError(
                f"zero_snr=true with prediction={self.prediction!r}: the noise says nothing about "
                "the clip where there is no signal; add prediction=v_prediction"
            )
        if self.webvid_json is None and self.pexels_json is None:
            raise UserError("no training data; give webvid_json, pexels_json or both")
        if (self.pexels_json is None) != (self.pexels_captions is None):
            raise UserError("pexels_json and pexels_captions belong together; give both")
        if len(self.validation_prompts) != len(self.validation_first_frames):
            raise UserError(
                f"{len(self.validation_prompts)} validation_prompts for "
                f"{len(self.validation_first_frames)} validation_first_frames; give one for each"
            )

    def spec(self) -> dict[str, Any]:
        """What changes a loss: two runs of equal specs may share a directory."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in _NO_NUMBERS}


_AT_LEAST: Final = {
    "size_px": 8,
    "num_frames": 2,
    "stride_min": 1,
    "stride_max": 1,
    "n_temp_heads": 1,
    "steps": 1,
    "batch_size": 1,
    "gradient_accumulation": 1,
    "warmup_steps": 0,
    "seed": 0,
    "num_workers": 0,
    "save_every": 1,
    "keep_states": 1,
    "validate_every": 0,
    "validation_inference_steps": 1,
    "validation_frame_stride": 1,
}
_WITHIN: Final = {
    "flip": (0, 1),
    "max_bad_fraction": (0, 1),
    "noise_alpha": (0, 1000),
    "text_dropout": (0, 1),
    "image_dropout": (0, 1),
    "learning_rate": (0, 10),
    "adam_beta1": (0, 1),
    "adam_beta2": (0, 1),
    "adam_epsilon": (0, 1),
    "weight_decay": (0, 10),
    "max_grad_norm": (0, 1e6),
    "ema_decay": (0, 1),
}
# They change how long it takes, what is looked at and what is kept, never a weight. The split of a
# step's clips into processes and batches is not in the spec either: see `loop.train`.
_NO_NUMBERS: Final = frozenset(
    {
        *("steps", "num_workers", "save_every", "keep_states", "tensorboard", "max_bad_fraction"),
        *("validate_every", "validation_prompts", "validation_first_frames"),
        *("validation_inference_steps", "validation_frame_stride", "gradient_checkpointing"),
        *("batch_size", "gradient_accumulation"),
    }
)


def load_recipe(path: Path | None, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe of a YAML file with `overrides` over it; the published one without a file.

    Raises:
        UserError: no YAML mapping, an unknown key, or a value of the wrong type or range.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = _read_yaml(path)
    values.update(overrides)
    accepted = {field.name: field for field in fields(Recipe)}
    types_of = typing.get_type_hints(Recipe)
    for key in values:
        if key not in accepted:
            where = f"{path}: " if path is not None and key not in overrides else ""
            raise UserError(f"{where}recipe has no {key!r}: {did_you_mean(str(key), accepted)}")
    return Recipe(**{key: _converted(key, value, types_of[key]) for key, value in values.items()})


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        line = str(error).replace("\n", " ")
        raise UserError(f"recipe {path} cannot be read: {line}") from error
    if not isinstance(values, dict):
        raise UserError(f"recipe {path} holds {type(values).__name__}; accepted: a mapping")
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def _converted(name: str, value: object, kind: Any) -> Any:  # noqa: ANN401
    """`value` as the field's type; a YAML 1 is a float where one is wanted, '5e-5' too."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None and type(None) in kinds:
        return None
    wanted = kinds[0]
    # To Python a bool is an int; here 'true' is no number.
    is_number = isinstance(value, int | float | str) and not isinstance(value, bool)
    if wanted is float and is_number:
        with suppress(ValueError):
            return float(value)  # type: ignore[arg-type]
    if wanted is int and is_number and isinstance(value, int):
        return value
    if wanted in (bool, str) and isinstance(value, wanted):
        return value
    is_list = typing.get_origin(wanted) is tuple and isinstance(value, list | tuple)
    if is_list and all(isinstance(item, str) for item in value):  # type: ignore[attr-defined]
        return tuple(value)  # type: ignore[arg-type]
    what = {float: "a number", int: "an integer", bool: "true or false", str: "a text"}
    raise UserError(f"{name}={value!r}; accepted: {what.get(wanted, 'a list of texts')}")
