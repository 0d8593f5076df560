"""The paper's ablation in a world small enough for two cores: trained, sampled and scored anew.

Each network is trained on the playground's training scenes with the same budget, seed and clips;
rows that differ in sampling alone share a checkpoint. What is measured goes to `ablation.json`; the
boards make the table of it, beside the paper's (arXiv:2402.04324, Table 3).
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from i2vbench.errors import SpecMismatchError, UserError, did_you_mean
from i2vbench.files import write_atomic
from i2vbench.fingerprint import canonical_json, differing_fields
from i2vbench.generation import generate
from i2vbench.model import load_model
from i2vbench.progress import Progress
from i2vbench.protocol import load_protocol
from i2vbench.reopen import reopen_run
from i2vbench.results import Results, load_results
from i2vbench.run_results import is_scored
from i2vbench.sample import Suite
from i2vbench.scoring import score_run
from i2vbench.suites import load_suite

from .adapter import TINY_FOLDER
from .checkpoint import weights_identity
from .sampling import SAMPLING_FILE
from .training.export import export_checkpoint
from .training.tiny_recipe import UNET_CONFIG, UNetTraining
from .training.unet import load_parts, train

_log = logging.getLogger(__name__)
RESULT_FILE: Final = "ablation.json"
SCHEMA_VERSION: Final = 1
_ARITHMETIC: Final = "fp32 torch"

RECIPE: Final[Mapping[str, Any]] = {
    "prediction": "v_prediction",
    "optimizer": "muon",
    "peak_rate": 2e-3,
    "zero_snr": True,
    "high_noise_share": 0.5,
    "high_noise_from": 700,
    "strides": (1, 3),
}
"""As one stage, from nothing, what `training/README.md` does in three; else defaults."""

NETWORKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "full": {},
    "no-temporal": {"augment_temporal_attention": False},
    "no-temporal-no-spatial": {
        "augment_temporal_attention": False,
        "first_frame_condition_mode": "input_only",
    },
}
"""What is trained, as changes of the UNet's configuration."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table: a network and how it is sampled."""

    group: str
    label: str
    """In group `table3`, the row's name in the paper's table."""
    network: str
    options: Mapping[str, Any]
    """Of the adapter, over those of the checkpoint."""


def _sweep(group: str, option: str, values: Sequence[float]) -> list[Row]:
    label = option.removeprefix("frameinit_")
    on: dict[str, Any] = {} if label == option else {"frameinit": True}
    return [
        Row(group=group, label=f"{label}={value}", network="full", options={**on, option: value})
        for value in values
    ]


_OFF: Final = {"frameinit": False}
ROWS: Final[tuple[Row, ...]] = (
    Row(group="table3", label="ConsistI2V", network="full", options={"frameinit": True}),
    Row(group="table3", label="w/o FrameInit", network="full", options=_OFF),
    Row(group="table3", label="w/o FrameInit & TempCond", network="no-temporal", options=_OFF),
    Row(
        group="table3",
        label="w/o FrameInit & TempCond & SpatialCond",
        network="no-temporal-no-spatial",
        options=_OFF,
    ),
    Row(group="frameinit", label="off", network="full", options=_OFF),
    Row(group="frameinit", label="on", network="full", options={"frameinit": True}),
    *_sweep("noise_level", "frameinit_noise_level", (650, 700, 750, 800, 850, 900, 950, 999)),
    *_sweep("spatial_cutoff", "frameinit_d_s", (0.1, 0.25, 0.5, 0.75, 1.0)),
    *_sweep("temporal_cutoff", "frameinit_d_t", (0.1, 0.25, 0.5, 0.75, 1.0)),
    *_sweep("frame_stride", "frame_stride", (1, 2, 3, 4, 5)),
)
GROUPS: Final = tuple(dict.fromkeys(row.group for row in ROWS))


@dataclass(frozen=True, kw_only=True)
class AblationOptions:
    """What an ablation costs and measures."""

    steps: int = 4000
    """Of each of the three trainings."""
    groups: tuple[str, ...] = GROUPS
    num_seeds: int = 3
    """Sampling seeds, 0 and up."""
    limit: int = 64
    """First samples of the suite; the playground's 64 scenes come before its photographs."""
    metrics: tuple[str, ...] = ("fvd", "subject_consistency", "dynamic_degree")
    """The first one orders the rows."""
    batch_size: int = 4
    """Clips sampled together."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `UNetTraining` over :data:`RECIPE`."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Options of all rows, under their own."""
    parts: Path = TINY_FOLDER
    """A checkpoint folder, whose autoencoder, text encoder and sampling are taken."""
    initial: Path | None = None
    """A checkpoint folder whose UNet all networks start from; from nothing if None."""

    def __post_init__(self) -> None:
        for group in self.groups:
            if group not in GROUPS:
                raise UserError(f"group {group!r} is unknown: {did_you_mean(group, GROUPS)}")
        for name in ("steps", "num_seeds", "limit", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}; accepted: 1 or more")
        if not self.metrics or not self.groups:
            raise UserError("no metrics or no groups; give at least one of each")
        if self.initial is not None and not (self.initial / "unet").is_dir():
            raise UserError(f"{self.initial} has no unet/; give a checkpoint folder")
        accepted = [f.name for f in fields(UNetTraining)]
        for key in self.recipe:
            if key not in accepted:
                raise UserError(f"recipe has no {key!r}: {did_you_mean(key, accepted)}")
        try:
            self.training()
        except (TypeError, ValueError) as error:
            raise UserError(f"recipe {dict(self.recipe)}: {error}") from error

    @property
    def rows(self) -> list[Row]:
        """Those of the groups that are asked for."""
        return [row for row in ROWS if row.group in self.groups]

    def training(self) -> UNetTraining:
        """The same for every network."""
        values = {**RECIPE, **self.recipe}
        # Of YAML, which has no tuples.
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return UNetTraining(**{**values, "steps": self.steps})

    def spec(self) -> dict[str, Any]:
        """What may not change within one directory; groups may be added later."""
        training = {k: v for k, v in asdict(self.training()).items() if k != "save_every"}
        spec = {
            "training": training,
            "sampling": dict(self.sampling),
            "limit": self.limit,
            "parts": weights_identity(self.parts),
            "initial": None if self.initial is None else weights_identity(self.initial),
        }
        found: dict[str, Any] = json.loads(canonical_json(spec))
        return found


def ablate(
    output: Path, options: AblationOptions, *, device: str = "cpu", progress: Progress | None = None
) -> Path:
    """Trains, samples and scores what `output` lacks; returns its `ablation.json`.

    It may be killed at any time: trainings go on from their last state, runs where they were.

    Args:
        output: holds `training/`, `checkpoints/`, `runs/` and the result.
        options: budget, rows and metrics.
        device: for sampling and scoring; the tiny networks are trained on the CPU.
        progress: told of clips; None for silence.

    Raises:
        UserError: another ablation in `output`.
    """
    _open(output, options)
    suite = load_suite("playground")
    protocol = load_protocol(suite.protocol)
    checkpoints = {
        network: _trained(output, network, options)
        for network in dict.fromkeys(row.network for row in options.rows)
    }
    measured: list[dict[str, Any]] = []
    for row in options.rows:
        values = {**options.sampling, **row.options, "checkpoint": str(checkpoints[row.network])}
        scores: dict[str, list[float | None]] = {metric: [] for metric in options.metrics}
        for seed in range(options.num_seeds):
            _log.info("%s: %s, seed %d", row.group, row.label, seed)
            results = _measured(output, values, suite, seed, options, device, progress)
            for score in results.scores:
                # A run keeps scores that somebody else has asked of it.
                is_ours = (score.protocol, score.arithmetic) == (protocol.title, _ARITHMETIC)
                if is_ours and score.metric in scores:
                    scores[score.metric].append(score.value)
        measured.append({**asdict(row), "scores": scores})
        _write(output, options, measured)
    return output / RESULT_FILE


def _open(output: Path, options: AblationOptions) -> None:
    file = output / "spec.json"
    if not file.is_file():
        write_atomic(file, json.dumps(options.spec(), indent=2) + "\n")
        return
    stored = json.loads(file.read_text(encoding="utf-8"))
    if stored != options.spec():
        lines = "; ".join(differing_fields(stored, options.spec()))
        raise SpecMismatchError(
            f"{output} holds another ablation ({lines}); give the same options, or another --output"
        )


def _trained(output: Path, network: str, options: AblationOptions) -> Path:
    """The checkpoint folder of a network, trained now if it is not there."""
    folder = output / "checkpoints" / network
    if folder.is_dir():
        return folder
    run = output / "training" / network
    _log.info("training %s for %d steps in %s", network, options.steps, run)
    parts = load_parts(options.parts / "vae", options.parts)
    train(
        run,
        parts,
        options.training(),
        config={**UNET_CONFIG, **NETWORKS[network]},
        initial=options.initial,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{network}.") as temporary:
        new = Path(temporary) / network
        export_checkpoint(run, options.parts / "vae", options.parts, new)
        shutil.copy(options.parts / SAMPLING_FILE, new / SAMPLING_FILE)
        new.replace(folder)
    return folder


def _measured(
    output: Path,
    values: Mapping[str, Any],
    suite: Suite,
    seed: int,
    options: AblationOptions,
    device: str,
    progress: Progress | None,
) -> Results:
    """The scores of one row and seed; rows of equal options share their run."""
    model = load_model("consisti2v", values, device=device)
    run = generate(
        model,
        suite,
        output / "runs",
        seed=seed,
        limit=options.limit,
        batch_size=options.batch_size,
        progress=progress,
    )
    failed = [take for take in run.takes().values() if take.status != "ok"]
    if failed:
        raise UserError(f"{run.path}: {len(failed)} clips failed; the first: {failed[0].error}")
    directory, plan, card = reopen_run(run.path, suite)
    protocol = load_protocol(suite.protocol)
    if is_scored(directory, plan, protocol, options.metrics, _ARITHMETIC):
        return load_results(directory.path)
    return score_run(
        directory,
        plan,
        card,
        metrics=options.metrics,
        device=device,
        cache_dir=output / "features",
        progress=progress,
    )


def _write(output: Path, options: AblationOptions, rows: Sequence[Mapping[str, Any]]) -> None:
    content = {
        "schema_version": SCHEMA_VERSION,
        "suite": "playground",
        "limit": options.limit,
        "steps": options.steps,
        "metrics": list(options.metrics),
        "rows": list(rows),
    }
    write_atomic(output / RESULT_FILE, json.dumps(content, indent=2, allow_nan=False) + "\n")
