"""The CLIP that ships inside: it knows playground scenes that it was not trained on."""

from __future__ import annotations

import numpy as np
import pytest

from i2vbench.clip import Clip
from i2vbench.metric import Example
from i2vbench.metrics.clipsim import CLIPSIM
from i2vbench.metrics.consistency import BackgroundConsistency
from i2vbench.metrics.features.tiny_clip import TinyCLIPExtractor
from i2vbench.suites.playground.captions import caption
from i2vbench.suites.playground.rendering import render
from i2vbench.suites.playground.scenes import scene_from_seed
from i2vbench.suites.playground.seeds import VALIDATION_SEED_START

SCENES = [scene_from_seed(VALIDATION_SEED_START + number) for number in range(32)]


@pytest.fixture(scope="module")
def extractor() -> TinyCLIPExtractor:
    return TinyCLIPExtractor()


@pytest.fixture(scope="module")
def similarity(extractor) -> np.ndarray:
    """(frame of scene i, caption of scene j)."""
    frames = np.concatenate([render(scene, 1) for scene in SCENES])
    texts = np.stack([extractor.encode_text(caption(scene)) for scene in SCENES])
    return extractor.encode_frames(frames) @ texts.T


def test_a_frame_finds_its_caption_and_a_caption_its_frame(similarity):
    own = np.arange(len(SCENES))
    # By chance 1 of 32; the network as it was trained finds 28 and 29.
    assert (similarity.argmax(1) == own).mean() > 0.7
    assert (similarity.argmax(0) == own).mean() > 0.7


def test_its_own_caption_is_far_from_others(similarity):
    own = np.diag(similarity)
    others = similarity[~np.eye(len(SCENES), dtype=bool)]
    assert own.mean() > 0.8
    assert abs(others.mean()) < 0.1


def test_the_size_of_the_frames_hardly_matters(extractor):
    for scene in SCENES[:4]:
        small, large = (render(scene, 1, size, size) for size in (64, 256))
        assert extractor.encode_frames(small)[0] @ extractor.encode_frames(large)[0] > 0.98


def test_bare_examples_are_scored_without_more_ado():
    examples = [
        Example(
            sample_id=str(number),
            take=0,
            clip=Clip(frames=render(scene, 3), fps=8),
            prompt=caption(scene),
        )
        for number, scene in enumerate(SCENES[:2])
    ]
    prompts_swapped = [
        Example(sample_id="x", take=0, clip=one.clip, prompt=other.prompt)
        for one, other in zip(examples, examples[::-1], strict=True)
    ]
    own, swapped, background = CLIPSIM(), CLIPSIM(), BackgroundConsistency()
    own.update(examples)
    swapped.update(prompts_swapped)
    background.update(examples)
    assert own.compute() > swapped.compute() + 0.3
    assert 0.8 < background.compute() < 1.0
