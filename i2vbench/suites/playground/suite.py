"""The suite `playground`: 64 procedural scenes with reference clips and 8 photographs without."""

from __future__ import annotations

from functools import partial
from importlib import resources
from pathlib import Path
from typing import Final

from i2vbench.clip import Clip, Geometry, Picture
from i2vbench.files import file_sha256
from i2vbench.fingerprint import fingerprint
from i2vbench.pictures import read_picture
from i2vbench.sample import Sample, Suite
from i2vbench.suites.playground.captions import caption
from i2vbench.suites.playground.rendering import render
from i2vbench.suites.playground.scenes import REFERENCE_STRIDE, Scene, scene_from_seed
from i2vbench.suites.playground.seeds import TEST_SEEDS

VERSION: Final = "1"
"""Changes with every change of a pixel or a word; a test holds hashes of the pixels."""
REFERENCE_FPS: Final = 8.0
"""Rate of the reference clip (16 frames, stride 3); ConsistI2V writes its videos at it."""

PHOTO_PROMPTS: Final = {
    "astronaut": "an astronaut in an orange suit smiles at the camera",
    "cat": "a ginger cat looks around",
    "coffee": "steam rises from a cup of coffee, the camera zooms in",
    "flower": "a flower sways in the wind",
    "galaxies": "the camera moves slowly through a field of galaxies",
    "palace": "the camera pans to the right over an old palace",
    "photographer": "a man in a dark coat takes a photograph on a meadow",
    "rocket": "a rocket lifts off from its launch pad at night",
}


def load() -> Suite:
    """The 72 samples of the suite; pixels are drawn when they are asked for."""
    scenes = [scene_from_seed(seed) for seed in TEST_SEEDS]
    samples = [_scene_sample(index, scene) for index, scene in enumerate(scenes)]
    photos = {name: _photo_path(name) for name in PHOTO_PROMPTS}
    digests = {name: file_sha256(path) for name, path in photos.items()}
    samples += [_photo_sample(name, path, digests[name]) for name, path in photos.items()]
    content = {
        "version": VERSION,
        "seeds": list(TEST_SEEDS),
        "prompts": [sample.prompt for sample in samples],
        "photos": digests,
    }
    return Suite(
        name="playground", version=VERSION, samples=samples, content_sha256=fingerprint(content)
    )


def _scene_sample(index: int, scene: Scene) -> Sample:
    return Sample(
        id=f"scene-{index:03d}",
        prompt=caption(scene),
        load_first_frame=partial(_first_frame, scene),
        load_reference=partial(_reference, scene),
        category=scene.category,
        extra={"motion": scene.motion, "camera": scene.camera, "seed": scene.seed},
        picture_key=fingerprint({"playground": VERSION, "first_frame_of_scene": scene.seed}),
        reference_key=fingerprint({"playground": VERSION, "scene": scene.seed}),
    )


def _photo_sample(name: str, path: Path, digest: str) -> Sample:
    return Sample(
        id=f"photo-{name}",
        prompt=PHOTO_PROMPTS[name],
        load_first_frame=partial(_photo, path),
        category="photo",
        extra={"motion": "", "camera": "", "seed": ""},
        picture_key=digest,
    )


def _photo_path(name: str) -> Path:
    return Path(str(resources.files("i2vbench.suites.playground"))) / "photos" / f"{name}.jpg"


def _photo(path: Path, geometry: Geometry) -> Picture:
    del geometry
    return read_picture(path)


def _first_frame(scene: Scene, geometry: Geometry) -> Picture:
    picture: Picture = render(scene, 1, geometry.height, geometry.width)[0]
    return picture


def _reference(scene: Scene, geometry: Geometry) -> Clip:
    """The scene at the asked rate: a clip of 24 fps shows in each second what one of 8 fps does."""
    stride = REFERENCE_STRIDE * REFERENCE_FPS / geometry.fps
    frames = render(scene, geometry.num_frames, geometry.height, geometry.width, stride)
    return Clip(frames=frames, fps=geometry.fps)
