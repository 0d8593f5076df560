from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from i2vbench.clip import Geometry
from i2vbench.suites import load_suite, ucf101
from i2vbench.suites.ucf101 import shares, words
from tests.suites.miniatures import litter, put_avi, refusal

GEOMETRY = Geometry(num_frames=4, height=16, width=16, fps=8)
SIZES = {"ApplyEyeMakeup": 5, "HandstandPushups": 3, "YoYo": 2}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """UCF-101 with three classes and ten videos, and the case of one name as it is there."""
    monkeypatch.setattr(ucf101, "NUM_CLASSES", len(SIZES))
    monkeypatch.setattr(ucf101, "NUM_VIDEOS", sum(SIZES.values()))
    folder = tmp_path / "UCF-101"
    avi = put_avi(tmp_path / "one.avi", num_frames=8)
    for name, number in SIZES.items():
        (folder / name).mkdir(parents=True)
        spelt = "HandStandPushups" if name == "HandstandPushups" else name
        for clip in range(1, number + 1):
            shutil.copy(avi, folder / name / f"v_{spelt}_g01_c{clip:02d}.avi")
    return folder


def load(folder: Path, **options: object):
    return load_suite(
        f"ucf101:{folder}", {"num_clips": 5, "num_frames": 2, "stride": 1, "size": 8, **options}
    )


def test_clips_follow_the_class_distribution(data: Path) -> None:
    litter(data)
    suite = load(data)
    assert Counter(s.category for s in suite) == {
        "ApplyEyeMakeup": 3,
        "HandstandPushups": 1,
        "YoYo": 1,
    }
    assert suite.name == "ucf101"
    assert (suite.sampling["stride"], suite.sampling["size"]) == (1, 8)
    sample = suite.samples[0]
    assert sample.prompt == "apply eye makeup"
    assert sample.load_first_frame(GEOMETRY).shape == (8, 8, 3)
    clip = sample.load_reference(GEOMETRY)
    assert clip.frames.shape == (2, 8, 8, 3)
    assert clip.fps == 25


def test_the_folder_above_does_too(data: Path) -> None:
    assert load(data.parent).content_sha256 == load(data).content_sha256


def test_the_draw_hangs_on_the_seed(data: Path) -> None:
    ids = [sample.id for sample in load(data)]
    assert ids == [sample.id for sample in load(data)]
    assert {tuple(s.id for s in load(data, seed=seed)) for seed in range(6)} != {tuple(ids)}


def test_what_changes_the_reference_set_changes_the_hash(data: Path) -> None:
    hashes = {
        load(data, **changed).content_sha256
        for changed in ({}, {"clip": "first"}, {"stride": 2}, {"num_frames": 3}, {"size": 16})
    }
    assert len(hashes) == 5
    assert load(data, size="model").drawn
    assert not load(data).drawn


def test_the_published_numbers_are_expected(tmp_path: Path) -> None:
    (tmp_path / "Archery").mkdir()
    put_avi(tmp_path / "Archery" / "v_Archery_g01_c01.avi")
    message = refusal(f"ucf101:{tmp_path}")
    assert "1 class folders, 101 are expected; 1 videos, 13320 are expected" in message
    assert "partial=true" in message


def test_the_first_five_problems_are_named(data: Path) -> None:
    files = sorted((data / "ApplyEyeMakeup").iterdir())
    files[0].write_bytes(b"")
    files[1].rename(data / "ApplyEyeMakeup" / "v_YoYo_g09_c01.avi")
    files[2].rename(data / "ApplyEyeMakeup" / "clip.avi")
    for file in (data / "YoYo").iterdir():
        file.unlink()
    (data / "HandstandPushups" / "v_HandStandPushups_g01_c01.avi").unlink()
    (data / "HandstandPushups" / "v_HandStandPushups_g01_c02.avi").write_bytes(b"")
    message = refusal(f"ucf101:{data}")
    for said in (
        "7 videos, 10 are expected",
        "ApplyEyeMakeup/clip.avi is not named v_ApplyEyeMakeup_g",
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi is empty",
        "ApplyEyeMakeup/v_YoYo_g09_c01.avi belongs to another class",
        "and 1 more",
    ):
        assert said in message
    assert "YoYo has no videos" not in message


def test_a_part_is_named_a_part(data: Path) -> None:
    shutil.rmtree(data / "YoYo")
    assert "2 class folders, 3 are expected" in refusal(f"ucf101:{data}")
    suite = load(data, partial=True)
    assert suite.name == "ucf101-partial"
    assert "compare with nothing published" in suite.notes[0]
    assert "there are 8 videos" in refusal(f"ucf101:{data}?partial=true")


def test_prompts_come_from_a_table(data: Path, tmp_path: Path) -> None:
    assert "papers use PYoCo's sentences" in load(data).notes[0]
    table = tmp_path / "prompts.csv"
    lines = ["class,prompt", *(f"{name},a film of {name}" for name in SIZES)]
    table.write_text("\n".join(lines))
    suite = load(data, prompts_file=str(table))
    assert {s.prompt for s in suite} == {f"a film of {name}" for name in SIZES}
    assert not suite.notes
    assert suite.content_sha256 != load(data).content_sha256
    table.write_text("\n".join([*lines[:-1], "Yoga,x", lines[1]]))
    message = refusal(f"ucf101:{data}", {"prompts_file": str(table), "num_clips": 5})
    assert "line 4: no folder of class 'Yoga'" in message
    assert "line 5: class 'ApplyEyeMakeup' stands twice" in message
    assert "no prompt for class 'YoYo'" in message


def test_no_video_lies_outside(data: Path, tmp_path: Path) -> None:
    path = data / "YoYo" / "v_YoYo_g01_c01.avi"
    path.unlink()
    path.symlink_to(tmp_path / "one.avi")
    assert "'YoYo/v_YoYo_g01_c01.avi' is a link out of its folder" in refusal(f"ucf101:{data}")


@pytest.mark.parametrize("total", [1, 7, 2048, 13319, 13320])
def test_shares_add_up(total: int) -> None:
    sizes = {f"class{i:03d}": 100 + 7 * i % 68 for i in range(100)}
    sizes["last"] = 13320 - sum(sizes.values())
    found = dict(shares(sizes, total))
    assert sum(found.values()) == total
    for name, size in sizes.items():
        assert abs(found[name] - size * total / 13320) < 1
        assert found[name] <= size


def test_words_of_class_names() -> None:
    names = ("YoYo", "TaiChi", "BasketballDunk", "Archery", "playing_dhol", "Top10")
    assert [words(name) for name in names] == [
        "yo yo",
        "tai chi",
        "basketball dunk",
        "archery",
        "playing dhol",
        "top 10",
    ]
