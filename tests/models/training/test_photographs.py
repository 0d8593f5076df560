"""Camera moves over photographs among the training's clips."""

import json

import cv2
import numpy as np
import pytest

from i2vbench.models.consisti2v.adapter import TINY_FOLDER
from i2vbench.models.consisti2v.training.data import SceneClips
from i2vbench.models.consisti2v.training.tiny_recipe import UNetTraining
from i2vbench.models.consisti2v.training.unet import load_parts, train

NUM_CLIPS = 120


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """Smooth and coloured, so that it can be followed and told from any scene."""
    blocks = np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)
    path = tmp_path_factory.mktemp("pictures") / "photograph.png"
    cv2.imwrite(str(path), cv2.resize(blocks, (600, 480), interpolation=cv2.INTER_CUBIC))
    return path


@pytest.fixture(scope="module")
def both(photograph):
    """The clips without and with the photograph, and which of the latter show it."""
    plain, mixed = SceneClips(4, 32), SceneClips(4, 32, pictures=[photograph])
    texts = [[clips[index][1] for index in range(NUM_CLIPS)] for clips in (plain, mixed)]
    shown = [index for index in range(NUM_CLIPS) if texts[0][index] != texts[1][index]]
    return plain, mixed, shown


def test_some_clips_are_of_photographs_and_the_rest_are_as_before(both):
    plain, mixed, shown = both
    assert 0.05 < len(shown) / NUM_CLIPS < 0.3
    for index in range(20):
        same = (plain[index][0] == mixed[index][0]).all()
        assert same == (index not in shown)
        assert plain[index][2] == mixed[index][2]


def test_the_caption_names_what_the_camera_does(both):
    """Where the right and the lower edge come from tells it apart from its words."""
    _, mixed, shown = both
    seen = set()
    for index in shown:
        text = mixed[index][1]
        assert text.startswith(("a photograph", "a photo", "a picture"))
        (x_right, y_right), (x_low, y_low) = (
            mixed.flow(index, 9)[-1][:, row, column].tolist() for row, column in ((4, 8), (8, 4))
        )
        words = text.replace(",", "").split()
        told = {
            "right": x_right > 0 and x_low > 0,
            "left": x_right < 0 and x_low < 0,
            "down": y_right > 0 and y_low > 0,
            "up": y_right < 0 and y_low < 0,
            "in": x_right < 0 and y_low < 0 and not x_low,
            "out": x_right > 0 and y_low > 0 and not x_low,
        }
        synonyms = {"upwards": "up", "downwards": "down", "closer": "in", "away": "out"}
        named = {synonyms.get(word, word) for word in words}
        assert {way for way in told if way in named} == {way for way in told if told[way]}, text
        seen |= named
    assert {"right", "left", "up", "down", "in", "out"} <= seen


def test_the_flow_leads_back_to_the_first_frame(both):
    """Of a photograph too: what `--flow-weight` asks for is how its pixels moved."""
    _, mixed, shown = both
    still, followed = [], []
    for index in shown:
        first, last = (mixed[index][0][at].permute(1, 2, 0).numpy() for at in (0, -1))
        if (first == last).all():
            continue
        flow = mixed.flow(index, 32)[-1].permute(1, 2, 0).numpy() * 32
        y, x = np.mgrid[:32, :32].astype(np.float32)
        source = np.stack([x, y], axis=-1) + flow
        inside = ((source >= 0) & (source <= 31)).all(-1)
        copied = cv2.remap(first, source, None, cv2.INTER_LINEAR)
        still.append(np.square(first.astype(float) - last)[inside].mean())
        followed.append(np.square(copied.astype(float) - last)[inside].mean())
    assert np.mean(followed) < 0.15 * np.mean(still)


def test_a_training_takes_them(photograph, tmp_path):
    """The fourth clip is of one: the first step, of three, is as before, and the second is not."""
    parts = load_parts(TINY_FOLDER / "vae", TINY_FOLDER)
    options = UNetTraining(steps=2, batch_size=3, num_frames=2, size_px=16, bf16=False)
    losses = []
    for name, pictures in (("without", []), ("with", [photograph])):
        train(tmp_path / name, parts, options, pictures=pictures)
        rows = (tmp_path / name / "log.jsonl").read_text().splitlines()
        losses.append([json.loads(row)["loss"] for row in rows])
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]
