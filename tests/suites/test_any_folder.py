from __future__ import annotations

from pathlib import Path

import pytest

from i2vbench.clip import Geometry
from i2vbench.suites import load_suite
from tests.suites.miniatures import litter, put_picture, put_video, refusal

GEOMETRY = Geometry(num_frames=3, height=16, width=16, fps=8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    put_video(folder / "a.mp4", num_frames=9)
    put_picture(folder / "a.png", grey=77)
    put_video(folder / "animals" / "b.mp4", num_frames=9)
    put_picture(folder / "animals" / "c.jpg", grey=5)
    return folder


def test_files_of_one_stem_are_one_sample(data: Path) -> None:
    litter(data)
    suite = load_suite(f"folder:{data}", {"stride": 2})
    assert suite.name == "mine"
    assert [(s.id, s.category) for s in suite] == [("a", ""), ("b", "animals"), ("c", "animals")]
    a, b, c = suite
    assert a.load_first_frame(GEOMETRY)[0, 0, 0] == 77
    assert [int(f[0, 0, 0]) for f in a.load_reference(GEOMETRY).frames] == [0, 2, 4]
    assert b.load_first_frame(GEOMETRY)[0, 0, 0] == 0
    assert c.load_reference is None


def test_prompts_lie_beside(data: Path) -> None:
    for name in ("a", "animals/b", "animals/c"):
        (data / f"{name}.txt").write_text(f"\ufeff {name} moves\n", encoding="utf-8")
    assert [s.prompt for s in load_suite(f"folder:{data}")] == [
        "a moves",
        "animals/b moves",
        "animals/c moves",
    ]
    (data / "animals/b.txt").unlink()
    assert "animals/b.txt is missing or empty" in refusal(f"folder:{data}")
    (data / "animals/b.txt").write_bytes("naïve".encode("latin-1"))
    assert "animals/b.txt is not UTF-8" in refusal(f"folder:{data}")


def test_what_is_wrong_is_named(data: Path, tmp_path: Path) -> None:
    put_picture(data / "a.jpg")
    (data / "d.mp4").write_bytes(b"")
    put_video(tmp_path / "secret.mp4")
    (data / "e.mp4").symlink_to(tmp_path / "secret.mp4")
    message = refusal(f"folder:{data}")
    assert "a.png and a.jpg would be one sample" in message
    assert "d.mp4 is empty" in message
    assert "'e.mp4' is a link out of its folder" in message
    (tmp_path / "empty").mkdir()
    assert "has no videos or pictures; accepted: .mp4" in refusal(f"folder:{tmp_path / 'empty'}")
    assert "is no folder; a table is given as table:" in refusal(f"folder:{data / 'a.mp4'}")


def test_what_is_left_out_is_a_note(data: Path) -> None:
    assert load_suite(f"folder:{data}").notes == ()
    for name in ("a.heic", "animals/notes.pdf", "animals/b.srt", "LICENSE"):
        (data / name).touch()
    (data / "more").symlink_to(data / "animals")
    suite = load_suite(f"folder:{data}")
    assert suite.notes == ("3 of 7 files are left out: a.heic, more, animals/notes.pdf",)


def test_keys_follow_the_clip_that_is_cut(data: Path) -> None:
    def keys(**options: object) -> list[tuple[str, str]]:
        suite = load_suite(f"folder:{data}", options)
        return [(sample.picture_key, sample.reference_key) for sample in suite]

    (a, a_clip), (b, b_clip), (c, c_clip) = keys()
    # a.png is the first frame of a; b's comes from b.mp4, whose bytes are a.mp4's.
    assert len({a, b, c}) == 3
    assert a_clip == b_clip != ""
    assert c_clip == ""
    for options in ({"stride": 2}, {"clip": "middle"}, {"num_frames": 2}, {"size": 8}):
        (a_now, a_clip_now), (b_now, _), (c_now, _) = keys(**options)
        assert (a_now, c_now) == (a, c)
        assert b_now != b
        assert a_clip_now != a_clip
    # A random start follows from the id.
    (_, first), (_, second), _ = keys(clip="random")
    assert first != second
