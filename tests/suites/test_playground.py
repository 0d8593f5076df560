"""The procedural suite: same pixels everywhere and for ever, and captions that tell the truth."""

import dataclasses
import hashlib
import time

import cv2
import numpy as np
import pytest

from i2vbench.clip import Geometry
from i2vbench.suites.playground import suite
from i2vbench.suites.playground.captions import NUM_PHRASINGS, caption
from i2vbench.suites.playground.rendering import outline, render
from i2vbench.suites.playground.scenes import (
    CAMERAS,
    DIRECTIONS,
    MOTIONS,
    PANS,
    SHAPES,
    TEXTURES,
    scene_from_seed,
)
from i2vbench.suites.playground.seeds import (
    TEST_SEEDS,
    TRAIN_SEED_START,
    VALIDATION_SEED_START,
)
from i2vbench.suites.playground.suite import PHOTO_PROMPTS, VERSION, load

GEOMETRY = Geometry(num_frames=16, height=64, width=64, fps=8)


def _digest(video):
    return hashlib.sha256(np.ascontiguousarray(video).data).hexdigest()[:16]


# A new hash is a new suite version: scores of the two do not compare.
PINNED = {
    0: "532e0129bf2d4447",
    5: "3ccf7bcd036b5dbe",
    11: "eca98b017f2b0502",
    13: "f1196711a6c0181d",
    22: "8bff2679c2954069",
    41: "88d7270fdd0adbb0",
}


def test_the_version_the_hashes_belong_to():
    assert VERSION == "1"


@pytest.mark.parametrize("seed", sorted(PINNED))
def test_pixels_are_pinned(seed):
    assert _digest(render(scene_from_seed(seed))) == PINNED[seed]


def test_equal_seeds_give_equal_scenes_and_pixels():
    first, second = scene_from_seed(7), scene_from_seed(7)
    assert first == second
    assert _digest(render(first)) == _digest(render(second))
    assert _digest(render(first)) != _digest(render(scene_from_seed(8)))


def test_test_seeds_are_apart_from_training_and_validation():
    assert len(set(TEST_SEEDS)) == 64
    assert max(TEST_SEEDS) < VALIDATION_SEED_START < TRAIN_SEED_START


def test_test_scenes_are_balanced():
    scenes = [scene_from_seed(seed) for seed in TEST_SEEDS]
    motions = [scene.motion for scene in scenes]
    cameras = [scene.camera for scene in scenes]
    assert {*motions} == {*MOTIONS}
    assert all(3 <= motions.count(motion) <= 5 for motion in MOTIONS)
    assert cameras.count("static") == 32
    assert all(5 <= cameras.count(camera) <= 6 for camera in CAMERAS if camera != "static")
    assert {scene.background.texture for scene in scenes} == {*TEXTURES}
    assert {scene.shapes[0].kind for scene in scenes} == {*SHAPES}


def test_a_frame_count_does_not_change_the_frames():
    scene = scene_from_seed(3)
    assert np.array_equal(render(scene, 16)[:4], render(scene, 4))


def test_twice_the_stride_is_every_second_frame():
    scene = scene_from_seed(4)
    assert np.array_equal(
        render(scene, 15, frame_stride=2.0)[::2], render(scene, 8, frame_stride=4.0)
    )


@pytest.mark.parametrize("seed", TEST_SEEDS[:12])
def test_sizes_show_the_same_picture(seed):
    scene = scene_from_seed(seed)
    small = render(scene, 2, 64, 64)[1].astype(float)
    large = cv2.resize(
        render(scene, 2, 256, 256)[1], (64, 64), interpolation=cv2.INTER_AREA
    ).astype(float)
    assert np.abs(small - large).mean() < 4.0


def test_a_wide_frame_extends_the_square_one():
    scene = scene_from_seed(5)
    wide = render(scene, 1, 64, 96)[0].astype(int)
    square = render(scene, 1, 64, 64)[0].astype(int)
    assert wide.shape == (64, 96, 3)
    assert np.abs(wide[:, 16:80] - square).mean() < 1.0


@pytest.mark.parametrize("seed", TEST_SEEDS)
def test_every_test_scene_moves_and_none_flickers(seed):
    video = render(scene_from_seed(seed)).astype(float)
    assert np.abs(video[-1] - video[0]).mean() > 1.0
    steps = np.abs(np.diff(video, axis=0)).mean(axis=(1, 2, 3))
    # A flickering texture would make each step as large as the whole way.
    assert steps.max() < 0.75 * np.abs(video[-1] - video[0]).mean() + 12.0


def _shift(first, second, reach=3):
    """Displacement of the content by block matching: whole pixels (x, y)."""
    inner = slice(8, -8)
    errors = {}
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            moved = np.roll(second, (-dy, -dx), axis=(0, 1))
            errors[dx, dy] = np.abs(moved[inner, inner].astype(int) - first[inner, inner]).mean()
    return min(errors, key=errors.get)


@pytest.mark.parametrize("camera", sorted(PANS))
def test_a_pan_moves_the_background_the_other_way(camera):
    direction = np.array(PANS[camera])
    scenes = [scene_from_seed(seed) for seed in range(300)]
    # Stripes show no motion along themselves; these textures do in every direction.
    seen = [
        s
        for s in scenes
        if s.camera == camera and s.background.texture in ("cloudy", "grass", "marble")
    ]
    for scene in seen[:4]:
        # One step of 1.5 px, without the shapes, which move on their own.
        video = render(dataclasses.replace(scene, shapes=()), 2)
        shift = np.array(_shift(video[0], video[1]))
        assert shift @ -direction >= 1, (scene.seed, shift)


WORDS = {
    "right": "to the right",
    "left": "to the left",
    "up": "up",
    "down": "down",
    "up-right": "to the upper right",
    "up-left": "to the upper left",
    "down-right": "to the lower right",
    "down-left": "to the lower left",
}


@pytest.mark.parametrize(
    "seed", [s for s in TEST_SEEDS if scene_from_seed(s).category == "translate"]
)
def test_the_caption_names_the_direction_that_is_seen(seed):
    scene = scene_from_seed(seed)
    lone = dataclasses.replace(scene, shapes=scene.shapes[:1], camera="static", phrasing=0)
    video = render(lone, 16).astype(int)
    # Where the picture differs from its median over time, there is the shape.
    still = np.median(video, axis=0)
    centres = []
    for frame in (video[4], video[11]):
        mask = np.abs(frame - still).sum(axis=-1) > 60
        centres.append(np.argwhere(mask).mean(axis=0)[::-1])
    travel = centres[1] - centres[0]
    name = max(DIRECTIONS, key=lambda key: float(travel @ np.array(DIRECTIONS[key])))
    assert f" {WORDS[name]} " in caption(lone)


@pytest.mark.parametrize("phrasing", range(NUM_PHRASINGS))
def test_every_phrasing_names_shape_motion_and_camera(phrasing):
    for seed in TEST_SEEDS:
        scene = scene_from_seed(seed)
        text = caption(scene, phrasing)
        assert text == text.strip().lower()
        assert "  " not in text
        assert f"{scene.shapes[0].color} " in text
        for shape in scene.shapes:
            assert shape.kind in text
        if scene.camera != "static":
            assert "camera" in text or "zoom" in text
        kind, _, way = scene.motion.partition("-")
        if kind == "translate":
            assert WORDS[way] in text
        elif kind == "rotate":
            assert f" {way}" in text


def test_outlines_are_closed_polygons_of_about_unit_radius():
    for kind in SHAPES:
        for contour in outline(kind):
            assert contour.shape[1] == 2
            assert 0.4 < np.linalg.norm(contour, axis=1).max() <= 1.45
    with pytest.raises(ValueError, match="unknown shape 'blob'"):
        outline("blob")


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match=">= 1"):
        render(scene_from_seed(0), 0)
    with pytest.raises(ValueError, match="seed must be >= 0"):
        scene_from_seed(-1)


def test_the_suite():
    suite = load()
    assert len(suite) == 64 + len(PHOTO_PROMPTS) == 72
    assert suite.samples[0].id == "scene-000"
    assert suite.content_sha256 == load().content_sha256
    for sample in suite.samples[:3]:
        clip = sample.load_reference(GEOMETRY)
        assert clip.frames.shape == (16, 64, 64, 3)
        assert np.array_equal(clip.frames[0], sample.load_first_frame(GEOMETRY))
        assert {"motion", "camera", "seed"} <= {*sample.extra}
    photo = suite.samples[-1]
    assert photo.load_reference is None
    assert photo.load_first_frame(GEOMETRY).shape == (256, 256, 3)


def test_a_higher_rate_shows_the_same_seconds():
    sample = load().samples[0]
    slow = sample.load_reference(GEOMETRY).frames
    fast = sample.load_reference(Geometry(num_frames=31, height=64, width=64, fps=16)).frames
    assert np.array_equal(fast[::2], slow)


def test_a_clip_is_drawn_fast():
    scene = scene_from_seed(9)
    best = min(_seconds(lambda: render(scene)) for _ in range(10))
    # 6 ms on an idle core; the bound only catches a lost vectorisation.
    assert best < 0.1


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def test_each_picture_has_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = suite.load()
    pictures = [sample.picture_key for sample in before]
    clips = [sample.reference_key for sample in before if sample.load_reference]
    assert len({*pictures, *clips}) == 72 + 64
    assert "" not in (*pictures, *clips)
    assert {s.reference_key for s in before if not s.load_reference} == {""}
    # Of other drawing code, every scene is another picture; the photographs stay.
    monkeypatch.setattr(suite, "VERSION", "other")
    after = [sample.picture_key for sample in suite.load()]
    assert [old == new for old, new in zip(pictures, after, strict=True)] == [False] * 64 + [
        True
    ] * 8
