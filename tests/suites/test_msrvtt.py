from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from i2vbench.clip import Geometry
from i2vbench.suites import load_suite, msrvtt
from tests.suites.miniatures import litter, put_video, refusal

GEOMETRY = Geometry(num_frames=4, height=16, width=16, fps=8)


def info(numbers: range) -> dict:
    return {
        "info": {"year": "2016"},
        "videos": [
            {
                "id": n,
                "video_id": f"video{n}",
                "category": n % 20,
                "url": "https://example.org",
                "start time": 0.0,
                "end time": 9.0,
                "split": "test",
            }
            for n in numbers
        ],
        "sentences": [
            {"sen_id": 100 * n + k, "video_id": f"video{n}", "caption": f"caption {k} of {n}"}
            for n in numbers
            for k in range(20)
        ],
    }


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight test videos in TestVideo/, with the JSON."""
    monkeypatch.setattr(msrvtt, "NUM_VIDEOS", 8)
    numbers = range(7010, 7018)
    (tmp_path / "test_videodatainfo.json").write_text(json.dumps(info(numbers)))
    for number in numbers:
        put_video(tmp_path / "TestVideo" / f"video{number}.mp4", num_frames=6)
    return tmp_path


def load(folder: Path, **options: object):
    return load_suite(f"msrvtt:{folder}", {"num_frames": 2, "size": 8, **options})


def test_each_video_gets_one_of_its_captions(data: Path) -> None:
    litter(data)
    suite = load(data)
    assert (suite.name, len(suite), suite.notes) == ("msrvtt", 8, ())
    for sample in suite:
        number = sample.id.removeprefix("video")
        assert sample.prompt.endswith(f" of {number}")
        assert sample.category == str(int(number) % 20)
        assert sample.load_reference(GEOMETRY).frames.shape == (2, 8, 8, 3)
    drawn = [sample.prompt.split()[1] for sample in suite]
    assert len(set(drawn)) > 2
    assert drawn == [sample.prompt.split()[1] for sample in load(data)]
    assert drawn != [sample.prompt.split()[1] for sample in load(data, seed=1)]


def test_the_draw_is_blind_to_the_order_of_the_json(data: Path) -> None:
    path = data / "test_videodatainfo.json"
    before = {sample.id: sample.prompt for sample in load(data)}
    content = json.loads(path.read_text())
    content["sentences"].reverse()
    path.write_text(json.dumps(content))
    assert {sample.id: sample.prompt for sample in load(data)} == before


@pytest.mark.parametrize("place", [".", "videos", "my videos"])
def test_videos_are_found(data: Path, place: str) -> None:
    expected = load(data).content_sha256
    for path in sorted((data / "TestVideo").iterdir()):
        (data / place).mkdir(exist_ok=True)
        path.rename(data / place / path.name)
    (data / "TestVideo").rmdir()
    options = {"videos": place} if place == "my videos" else {}
    assert load(data, **options).content_sha256 == expected


def test_training_videos_of_a_whole_json_stay_out(data: Path) -> None:
    content = info(range(7008, 7018))
    for video in content["videos"][:2]:
        video["split"] = "train"
    (data / "all.json").write_text(json.dumps(content))
    assert [s.id for s in load(data, annotations="all.json")] == [s.id for s in load(data)]


def test_the_published_number_is_expected(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msrvtt, "NUM_VIDEOS", 2990)
    assert "8 test videos in the JSON, 2990 are expected" in refusal(f"msrvtt:{data}")


def test_the_first_five_missing_videos_are_named(data: Path) -> None:
    for number in range(7011, 7018):
        (data / "TestVideo" / f"video{number}.mp4").unlink()
    (data / "TestVideo" / "video7010.mp4").write_bytes(b"")
    message = refusal(f"msrvtt:{data}")
    assert "TestVideo/video7010.mp4 is empty; TestVideo/video7011.mp4 is missing" in message
    assert "video7014.mp4 is missing; and 3 more" in message
    assert "video7015" not in message


def test_a_part_is_named_a_part(data: Path) -> None:
    (data / "TestVideo" / "video7010.mp4").unlink()
    suite = load(data, partial=True)
    assert (suite.name, len(suite)) == ("msrvtt-partial", 7)
    assert "7 of 8 test videos" in suite.notes[0]
    shutil.rmtree(data / "TestVideo")
    assert "not one of 8 test videos is there" in refusal(f"msrvtt:{data}?partial=true")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "is not MSR-VTT's JSON"),
        ("{", "is not MSR-VTT's JSON"),
        ('{"videos": [], "sentences": []}', "no videos of the split 'test'"),
        (json.dumps({**info(range(2)), "sentences": []}), "video0 has no caption"),
        (json.dumps({**info(range(1)), "videos": info(range(1))["videos"] * 2}), "stand twice"),
    ],
)
def test_another_json_is_named(data: Path, content: str, said: str) -> None:
    (data / "test_videodatainfo.json").write_text(content)
    assert said in refusal(f"msrvtt:{data}")


def test_nothing_outside_is_read(data: Path) -> None:
    content = info(range(7010, 7018))
    content["videos"][0]["video_id"] = "../../secret"
    content["sentences"][0]["video_id"] = "../../secret"
    (data / "test_videodatainfo.json").write_text(json.dumps(content))
    assert "'TestVideo/../../secret.mp4' leaves its folder" in refusal(f"msrvtt:{data}")
    assert "leaves its folder" in refusal(f"msrvtt:{data}", {"annotations": "../x.json"})
    (data / "test_videodatainfo.json").unlink()
    assert "test_videodatainfo.json is missing" in refusal(f"msrvtt:{data}")
