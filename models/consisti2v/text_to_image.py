"""First frames from a Diffusers text-to-image pipeline: text to video by way of a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from i2vbench.errors import MissingWeightsError, UserError
from i2vbench.files import file_sha256

from .finite import require_finite

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
_HASHED: Final = (".safetensors", ".json", ".txt", ".model")


class TextToImage:
    """A Diffusers pipeline that draws pictures; its networks load on the first one."""

    def __init__(self, source: str, *, device: str, dtype: torch.dtype) -> None:
        """Keeps what was asked.

        Args:
            source: folder or Hugging Face id.
            device: where it runs.
            dtype: of its networks.
        """
        self.source = source
        self._device = device
        self._dtype = dtype
        self._pipeline: Any = None

    def identity(self) -> str:
        """sha256 over the files of a folder, else ``source``: what a fingerprint needs.

        Raises:
            UserError: a folder without ``model_index.json``.
        """
        folder = Path(self.source).expanduser()
        if not folder.is_dir():
            return self.source
        if not (folder / "model_index.json").is_file():
            raise UserError(
                f"t2i={self.source!r} has no model_index.json; give the folder of a Diffusers "
                "pipeline or a Hugging Face id"
            )
        digest = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            if path.suffix in _HASHED:
                name = path.relative_to(folder).as_posix()
                digest.update(f"{name} {file_sha256(path)}\n".encode())
        return digest.hexdigest()

    def draw(self, prompts: Sequence[str], generators: Sequence[torch.Generator]) -> list[Picture]:
        """One picture per prompt, uint8 (H, W, 3) RGB at the pipeline's own size.

        Raises:
            MissingWeightsError: the pipeline is neither there nor reachable.
            UserError: the pipeline draws no pictures from text.
            FloatingPointError: the pipeline gave NaN.
        """
        pipeline = self._load()
        # One at a time: a picture must not depend on its batch.
        return [
            _only_picture(pipeline(prompt, generator=generator, output_type="np"), self.source)
            for prompt, generator in zip(prompts, generators, strict=True)
        ]

    def release(self) -> None:
        """Frees the networks; the next picture loads them again."""
        self._pipeline = None

    def _load(self) -> Any:  # noqa: ANN401
        if self._pipeline is None:
            from diffusers import DiffusionPipeline

            source = str(Path(self.source).expanduser())
            load: Any = DiffusionPipeline.from_pretrained
            try:
                pipeline = load(source, torch_dtype=self._dtype, use_safetensors=True)
            except OSError as error:
                raise MissingWeightsError(
                    f"t2i={self.source!r} cannot be loaded ({str(error).splitlines()[0]}); give "
                    "the folder of a Diffusers pipeline, or go online once"
                ) from error
            pipeline.set_progress_bar_config(disable=True)
            self._pipeline = pipeline.to(self._device)
        return self._pipeline


def _only_picture(made: Any, source: str) -> Picture:  # noqa: ANN401
    images = getattr(made, "images", None)
    if images is None or np.ndim(images[0]) != 3:
        raise UserError(
            f"t2i={source!r} draws no pictures from text; give a text-to-image pipeline"
        )
    require_finite(images[0], "text-to-image pipeline")
    picture: Picture = (np.asarray(images[0]) * 255).round().clip(0, 255).astype(np.uint8)
    return picture
