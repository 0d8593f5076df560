"""The training loop of the published recipe, on one device or many.

Processes, precision and sharding are those of Hugging Face Accelerate (`accelerate launch`). All
that is random follows from the seed and the number of a clip in the training: neither the number of
processes nor a resumption changes a loss, and no two clips share their noise.

Shapes: B clips, C latent channels, T frames, H, W latent size.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, gather_object
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from i2vbench.errors import UserError
from i2vbench.models.consisti2v.checkpoint import checkpoint_folder
from i2vbench.models.consisti2v.networks import load_text_encoder, load_tokenizer, load_vae
from i2vbench.models.consisti2v.noise import Draws, SampleDraws, initial_noise
from i2vbench.models.consisti2v.pipeline import ConsistI2VPipeline
from i2vbench.models.consisti2v.saving import save_checkpoint
from i2vbench.models.consisti2v.unet import ConsistI2VUNet

from .diffusion import (
    NUM_TIMESTEPS,
    NoiseSchedule,
    StepDraws,
    losses_per_clip,
    predicted_and_target,
)
from .network import build_adamw, starting_unet, training_scheduler
from .progress import Ema, set_learning_rate, step_generator
from .recipe import Recipe
from .states import RunFolder
from .unreadable import UnreadableFiles
from .validation import Validation
from .webvid import ClipDataset, ClipNumbers, TrainingClip, list_videos

_log = logging.getLogger(__name__)
_FROZEN_DTYPES: Final = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class TrainingDraws(Draws, Protocol):
    """What is random in a batch: posterior and noise of `Draws`, and two more."""

    def timesteps(self) -> torch.Tensor:
        """int64 (B,), 0 to 999."""
        ...

    def uniforms(self) -> torch.Tensor:
        """(2, B) in [0, 1): what decides the dropout of text and of image."""
        ...


class ClipDraws(SampleDraws):
    """The draws of clips by their numbers, whatever process and batch they are in."""

    def __init__(self, seed: int, numbers: Sequence[int]) -> None:
        super().__init__([step_generator(seed, number) for number in numbers])

    def timesteps(self) -> torch.Tensor:
        """One per clip, uniform."""
        drawn = [torch.randint(NUM_TIMESTEPS, (1,), generator=g) for g in self.generators]
        return torch.cat(drawn)

    def uniforms(self) -> torch.Tensor:
        """Two per clip."""
        return torch.stack([torch.rand(2, generator=g) for g in self.generators], dim=1)


def batch_losses(
    unet: nn.Module,
    pipeline: ConsistI2VPipeline,
    clips: Sequence[TrainingClip],
    draws: TrainingDraws,
    schedule: NoiseSchedule,
    recipe: Recipe,
) -> torch.Tensor:
    """Returns the loss of each clip, (B,); drawn in the order posterior, noise, timestep, dropout.

    Args:
        unet: the network that learns, possibly wrapped for several devices.
        pipeline: its autoencoder and text encoder.
        clips: of one batch.
        draws: all random numbers.
        schedule: of the noise.
        recipe: noise, dropouts and prediction.
    """
    device = pipeline.device
    pixels_BTCHW = torch.stack([clip.frames_TCHW for clip in clips])
    # Out of inference mode: only copies may take part in a backward pass.
    latents_NCHW = pipeline.encode_pixels(pixels_BTCHW.flatten(0, 1), draws).clone()
    latents_BCTHW = torch.unflatten(latents_NCHW, 0, (len(clips), -1)).transpose(1, 2)
    noise_BCTHW = initial_noise(recipe.noise, recipe.noise_alpha, latents_BCTHW.shape, draws)
    t_B = draws.timesteps()
    no_text_B, no_image_B = draws.uniforms().unbind()
    step_draws = StepDraws(
        noise_BCTHW=noise_BCTHW.to(device),
        t_B=t_B.to(device),
        no_text_B=(no_text_B < recipe.text_dropout).to(device),
        no_image_B=(no_image_B < recipe.image_dropout).to(device),
    )
    text_BLD = pipeline.encode_text([*(clip.text for clip in clips), ""]).float().clone()
    predicted, target = predicted_and_target(
        unet,
        latents_BCTHW.contiguous(),
        text_BLD[:-1],
        torch.tensor([clip.stride for clip in clips], device=device),
        text_BLD[-1],
        step_draws,
        schedule,
        prediction=recipe.prediction,
        first_frame_given=pipeline.needs_first_frame,
    )
    return losses_per_clip(predicted, target)


def train(output: Path, recipe: Recipe, *, quiet: bool = False) -> Path | None:
    """Trains, or goes on where an earlier call was cut off; returns the checkpoint's folder.

    None in all processes but the first.

    Args:
        output: holds `run.json`, `log.jsonl`, the states, `validation/` and in the end
            `checkpoint/`.
        recipe: what and how.
        quiet: without a progress bar.

    Raises:
        UserError: data or networks that do not fit, another recipe in `output`, too many
            unreadable files, or a loss that is not finite.
    """
    accelerator = Accelerator(
        mixed_precision="no" if recipe.mixed_precision == "fp32" else recipe.mixed_precision,
        gradient_accumulation_steps=recipe.gradient_accumulation,
    )
    return _Training(accelerator, output, recipe, quiet=quiet).run()


class _Training:
    """The objects of one training while it runs."""

    def __init__(
        self, accelerator: Accelerator, output: Path, recipe: Recipe, *, quiet: bool
    ) -> None:
        self.accelerator, self.recipe, self.quiet = accelerator, recipe, quiet
        sharded = accelerator.distributed_type in (
            DistributedType.FSDP,
            DistributedType.DEEPSPEED,
        )
        if sharded and (recipe.ema or recipe.validate_every):
            raise UserError(
                "ema and validate_every need the whole UNet in each process; with FSDP or "
                "DeepSpeed set ema=false and validate_every=0, or launch without them"
            )
        per_batch = recipe.batch_size * accelerator.num_processes
        self.clips_per_step = per_batch * recipe.gradient_accumulation
        self.folder = RunFolder(output, accelerator, keep=recipe.keep_states)
        self.folder.open({**recipe.spec(), "clips_per_step": self.clips_per_step})

        videos = list_videos(recipe)
        self.clips = ClipDataset(videos, recipe)
        self.unreadable = UnreadableFiles(recipe.max_bad_fraction, len(videos))
        self.start = checkpoint_folder(recipe.pretrained)
        frozen = _FROZEN_DTYPES[recipe.mixed_precision]
        self.pipeline = ConsistI2VPipeline(
            unet=starting_unet(self.start / "unet", recipe),
            # In float16 Stable Diffusion's autoencoder overflows.
            vae=load_vae(
                self.start / "vae", dtype=torch.float32 if frozen == torch.float16 else frozen
            ).requires_grad_(False),
            text_encoder=load_text_encoder(
                self.start / "text_encoder", dtype=frozen
            ).requires_grad_(False),
            tokenizer=load_tokenizer(self.start / "tokenizer"),
            scheduler=training_scheduler(recipe),
            device=accelerator.device,
        )
        self.unet = self.pipeline.unet
        self.ema = Ema(self.unet, recipe.ema_decay, lag=1) if recipe.ema else None
        self.network: Any
        self.optimizer: Any
        self.network, self.optimizer = accelerator.prepare(
            self.unet, build_adamw(self.unet, recipe)
        )
        if self.ema is not None:
            accelerator.register_for_checkpointing(self.ema)
        self.schedule = NoiseSchedule(zero_snr=recipe.zero_snr)

    def run(self) -> Path | None:
        """See :func:`train`."""
        recipe, accelerator = self.recipe, self.accelerator
        start, extra = self.folder.resume()
        if extra is not None:
            self.unreadable.load_state_dict(extra)
        if start < recipe.steps and accelerator.is_main_process:
            # Of fewer steps than are asked for now.
            shutil.rmtree(self.folder.path / "checkpoint", ignore_errors=True)
        numbers = ClipNumbers(
            recipe,
            start=start,
            rank=accelerator.process_index,
            num_processes=accelerator.num_processes,
        )
        batches = iter(
            DataLoader(
                self.clips,
                batch_sampler=numbers,
                collate_fn=list,
                num_workers=recipe.num_workers,
                worker_init_fn=_one_thread,
            )
        )
        validation = None
        if recipe.validate_every and accelerator.is_main_process:
            validation = Validation(recipe, self.clips)
        writer = self._tensorboard(start)
        bar = tqdm(
            total=recipe.steps * self.clips_per_step,
            initial=start * self.clips_per_step,
            unit=" clips",
            disable=self.quiet or not accelerator.is_main_process,
            dynamic_ncols=True,
        )
        for step in range(start, recipe.steps):
            began = time.monotonic()
            numbers_of_step = self._step(step, batches)
            rate = self.clips_per_step / (time.monotonic() - began)
            row = {"step": step, **numbers_of_step, "clips_per_s": float(f"{rate:.4g}")}
            if accelerator.is_main_process:
                self.folder.log(row)
                bar.set_postfix(step=step + 1, loss=f"{row['loss']:.4f}", refresh=False)
                bar.update(self.clips_per_step)
                if writer is not None:
                    for name in ("loss", "grad_norm", "learning_rate", "clips_per_s"):
                        writer.add_scalar(f"train/{name}", row[name], step)
            if (step + 1) % recipe.save_every == 0 or step + 1 == recipe.steps:
                self.folder.save(step + 1, self.unreadable.state_dict())
            if recipe.validate_every and (step + 1) % recipe.validate_every == 0:
                self._validate(step + 1, validation)
        bar.close()
        if writer is not None:
            writer.close()
        if len(self.unreadable) and accelerator.is_main_process:
            _log.warning("%d files of the training data could not be read", len(self.unreadable))
        return self._finish()

    def _step(self, step: int, batches: Any) -> dict[str, float]:  # noqa: ANN401
        """One optimizer step; returns its numbers, the same in all processes."""
        recipe, accelerator = self.recipe, self.accelerator
        rate = recipe.learning_rate
        if step < recipe.warmup_steps:
            rate *= (step + 1) / recipe.warmup_steps
        set_learning_rate(self.optimizer, rate)
        total = torch.zeros((), dtype=torch.float64)
        norm = torch.zeros(())
        unreadable: list[str] = []
        first = step * recipe.gradient_accumulation
        for batch_number in range(first, first + recipe.gradient_accumulation):
            clips: list[TrainingClip] = next(batches)
            unreadable += [line for clip in clips for line in clip.unreadable]
            place = batch_number * accelerator.num_processes + accelerator.process_index
            place *= recipe.batch_size
            draws = ClipDraws(recipe.seed, range(place, place + recipe.batch_size))
            with accelerator.accumulate(self.network):
                losses_B = batch_losses(
                    self.network, self.pipeline, clips, draws, self.schedule, recipe
                )
                accelerator.backward(losses_B.mean())
                if accelerator.sync_gradients:
                    trained = [p for p in self.network.parameters() if p.requires_grad]
                    norm = accelerator.clip_grad_norm_(trained, recipe.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
            total += losses_B.detach().double().sum().cpu()
        self.unet.project_alphas()
        if self.ema is not None:
            self.ema.update(self.unet)
        sums = accelerator.gather(
            torch.stack([total, torch.tensor(float(len(unreadable)))])
            .float()
            .to(accelerator.device)[None]
        )
        if sums[:, 1].sum() > 0:
            unreadable = gather_object(unreadable)
        self.unreadable.add(self.clips_per_step, unreadable, log=accelerator.is_main_process)
        loss = sums[:, 0].double().sum().item() / self.clips_per_step
        if not math.isfinite(loss):
            raise UserError(
                f"the loss of step {step} is {loss}; go on from an earlier state with a smaller "
                "learning_rate, or with mixed_precision=fp32 to see whether precision is the cause"
            )
        return {
            "loss": float(f"{loss:.9g}"),
            # Infinite where the scaler of fp16 skips a step; JSON knows no infinity.
            "grad_norm": float(f"{float(norm):.9g}") if math.isfinite(float(norm)) else -1.0,
            "learning_rate": rate,
        }

    def _validate(self, step: int, validation: Validation | None) -> None:
        if validation is not None:
            held = self._show_average()
            self.unet.eval()
            validation.run(self.pipeline, self.folder.path / "validation" / f"step-{step:07d}")
            self.unet.train()
            if held is not None:
                self.unet.load_state_dict(held)
        self.accelerator.wait_for_everyone()

    def _show_average(self) -> dict[str, torch.Tensor] | None:
        """Puts the averaged weights in, if there are any; returns the others."""
        if self.ema is None:
            return None
        held = {key: value.detach().clone() for key, value in self.unet.state_dict().items()}
        self.unet.load_state_dict(self.ema.shadow)
        return held

    def _finish(self) -> Path | None:
        """Writes `checkpoint/`, unless an earlier call did."""
        folder = self.folder.path / "checkpoint"
        self.accelerator.wait_for_everyone()
        state = self.accelerator.get_state_dict(self.network)
        if self.accelerator.is_main_process and not folder.exists():
            with torch.device("meta"):
                unet = ConsistI2VUNet(self.unet.config)
            unet.load_state_dict(self.ema.shadow if self.ema else state, assign=True)
            save_checkpoint(
                folder,
                unet=unet,
                # As they were: the training held them in its own precision.
                vae=load_vae(self.start / "vae"),
                text_encoder=load_text_encoder(self.start / "text_encoder"),
                tokenizer=self.pipeline.tokenizer,
                scheduler=self.pipeline.scheduler,
            )
        self.accelerator.end_training()
        return folder if self.accelerator.is_main_process else None

    def _tensorboard(self, start: int) -> Any:  # noqa: ANN401
        if not self.recipe.tensorboard or not self.accelerator.is_main_process:
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                "tensorboard=true needs tensorboard: pip install 'i2vbench[train]'"
            ) from error
        return SummaryWriter(str(self.folder.path / "tensorboard"), purge_step=start)


def _one_thread(worker: int) -> None:
    del worker
    torch.set_num_threads(1)
