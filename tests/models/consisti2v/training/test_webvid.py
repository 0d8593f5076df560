"""Training clips: which frames, what is done to them, and files that cannot be read."""

import json

import numpy as np
import pytest
import torch

from i2vbench.errors import UserError
from i2vbench.models.consisti2v.training.recipe import load_recipe
from i2vbench.models.consisti2v.training.unreadable import UnreadableFiles
from i2vbench.models.consisti2v.training.webvid import (
    ClipDataset,
    ClipNumbers,
    _permuted,
    list_videos,
)
from i2vbench.video_io import read_video


def _clips(values, **changes):
    recipe = load_recipe(None, {**values, **changes})
    return ClipDataset(list_videos(recipe), recipe)


def test_a_clip_follows_from_its_number(values):
    clips = _clips(values)
    again = _clips(values)
    for number in (0, 3, 11):
        assert torch.equal(clips[number].frames_TCHW, again[number].frames_TCHW)
        assert clips[number][1:] == again[number][1:]
    other = _clips(values, seed=1)
    assert any(clips[n].video != other[n].video for n in range(10))
    assert {clips[n].stride for n in range(60)} == {1, 2, 3, 4, 5}


def test_frames_are_a_stride_apart_and_a_short_video_keeps_the_label(values, videos):
    clips = _clips(values, size_px=40, flip=0.0)
    seen = set()
    for number in range(40):
        clip = clips[number]
        source = torch.from_numpy(read_video(clip.video).frames).permute(0, 3, 1, 2)
        source = source[..., 4:44].float() / 255 * 2 - 1
        places = [
            int((source - frame).abs().flatten(1).sum(1).argmin()) for frame in clip.frames_TCHW
        ]
        length = min(len(source), 3 * clip.stride + 1)
        offsets = np.linspace(0, length - 1, 4).astype(int)
        assert places == [places[0] + int(offset) for offset in offsets]
        assert torch.allclose(clip.frames_TCHW, source[places], atol=1e-6)
        seen.add(length < 3 * clip.stride + 1)
    assert seen == {True, False}


def test_the_whole_clip_is_mirrored_resized_and_cropped(values):
    plain, mirrored = _clips(values, flip=0.0), _clips(values, flip=1.0)
    assert torch.allclose(plain[2].frames_TCHW.flip(-1), mirrored[2].frames_TCHW, atol=1e-3)
    assert plain[2].frames_TCHW.shape == (4, 3, 32, 32)
    assert plain[2].frames_TCHW.min() >= -1
    assert plain[2].frames_TCHW.max() <= 1


@pytest.mark.parametrize("size", [1, 2, 5, 64, 1000])
def test_an_epoch_shows_each_video_once(size):
    assert sorted(_permuted(p, size, (3, 0)) for p in range(size)) == list(range(size))
    if size >= 64:
        epochs = [[_permuted(p, size, (3, epoch)) for p in range(size)] for epoch in range(2)]
        assert epochs[0] != epochs[1]
        assert epochs[0] != list(range(size))


def test_a_step_has_the_same_clips_whoever_takes_them(values):
    def of_step(step, batch_size, accumulation, processes):
        changes = {"batch_size": batch_size, "gradient_accumulation": accumulation, "steps": 9}
        recipe = load_recipe(None, {**values, **changes})
        return sorted(
            number
            for rank in range(processes)
            for batch, _ in zip(
                ClipNumbers(recipe, start=step, rank=rank, num_processes=processes),
                range(accumulation),
                strict=False,
            )
            for number in batch
        )

    expected = list(range(16, 20))
    for split in ((4, 1, 1), (2, 2, 1), (2, 1, 2), (1, 2, 2), (1, 1, 4)):
        assert of_step(4, *split) == expected


def test_joint_data_take_landscape_videos_with_a_caption(values, videos, tmp_path):
    rows = [
        {"id": 1, "file": "0.mp4", "width": 48, "height": 20},
        {"id": 2, "file": "1.mp4", "width": 48, "height": 40},
        {"id": 3, "file": "2.mp4", "width": 48, "height": 20},
    ]
    (tmp_path / "pexels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    texts = [{"id": 1, "text": "one"}, {"id": 2, "text": "two"}]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, texts)))
    joint = {
        "pexels_json": str(tmp_path / "pexels.jsonl"),
        "pexels_captions": str(tmp_path / "captions.jsonl"),
        "pexels_folder": str(videos),
    }
    found = list_videos(load_recipe(None, {**values, **joint}))
    assert len(found) == 6
    assert found[5].text == "one"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"list\.jsonl:1 is not JSON"),
        ('{"file": "a.mp4"}', r"list\.jsonl:1: text=None; accepted: lines with text, file"),
        ("[1]", r"list\.jsonl:1"),
        ('{"text": "a", "file": "../a.mp4"}', "points out of"),
        ("", "no videos in"),
    ],
)
def test_a_bad_list_is_named(values, tmp_path, line, message):
    (tmp_path / "list.jsonl").write_text(line + "\n")
    recipe = load_recipe(None, {**values, "webvid_json": str(tmp_path / "list.jsonl")})
    with pytest.raises(UserError, match=message):
        list_videos(recipe)


def test_an_unreadable_file_gives_its_place_to_another(values, videos, tmp_path):
    for file in videos.glob("*.mp4"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "3.mp4").write_bytes(b"no video")
    clips = _clips(values, webvid_folder=str(tmp_path))
    drawn = [clips[number] for number in range(10)]
    failed = [line for clip in drawn for line in clip.unreadable]
    assert len(failed) >= 2
    assert all("3.mp4" in line for line in failed)
    assert all("3.mp4" not in clip.video for clip in drawn)
    intact = _clips(values)
    untouched = [n for n in range(10) if not drawn[n].unreadable]
    assert all(torch.equal(drawn[n][0], intact[n].frames_TCHW) for n in untouched)


def test_unreadable_files_are_named_once_and_too_many_stop(caplog):
    files = UnreadableFiles(0.02, 1000)
    for _ in range(3):
        files.add(2, ["a.mp4: damaged"])
    files.add(2, ["b.mp4: damaged"])
    assert [record.getMessage() for record in caplog.records] == [
        "skipped: a.mp4: damaged",
        "skipped: b.mp4: damaged",
    ]
    resumed = UnreadableFiles(0.02, 1000)
    resumed.load_state_dict(json.loads(json.dumps(files.state_dict())))
    with pytest.raises(UserError, match=r"3 of 100 videos .* a\.mp4: damaged; b\.mp4.*; c\.mp4"):
        resumed.add(2, ["c.mp4: damaged"])
    # Ten of ten thousand clips are none too many.
    rare = UnreadableFiles(0.02, 100_000)
    rare.add(10_000, [f"{index}.mp4" for index in range(10)][:2])
    rare.add(0, [f"{index}.mp4" for index in range(10)])
    assert len(rare) == 10
