"""Camera moves over photographs among the training's clips."""

import cv2
import numpy as np
import pytest

from i2vbench.models.consisti2v.training.data import SceneClips

NUM_CLIPS = 120


@pytest.fixture
def photograph(tmp_path):
    """Smooth and coloured, so that it can be followed and told from any scene."""
    blocks = np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)
    path = tmp_path / "photograph.png"
    cv2.imwrite(str(path), cv2.resize(blocks, (600, 480), interpolation=cv2.INTER_CUBIC))
    return path


@pytest.fixture
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
    """Still, panned to four sides, zoomed in and out; nothing of shapes that are not there."""
    _, mixed, shown = both
    texts = [mixed[index][1] for index in shown]
    assert all(text.startswith(("a photograph", "a photo", "a picture")) for text in texts)
    assert not any(shape in text for text in texts for shape in ("circle", "star", "ring"))
    assert any("left" in text for text in texts)
    assert any("zoom" in text for text in texts)


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
