from __future__ import annotations

from pathlib import Path

import pytest

from i2vbench.clip import Geometry
from i2vbench.suites import load_suite
from tests.suites.miniatures import put_picture, put_video, refusal

GEOMETRY = Geometry(num_frames=3, height=16, width=16, fps=8)
COLUMNS = {"prompt": "caption", "image": "frame", "reference": "path"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    put_video(tmp_path / "clips" / "x.mp4", num_frames=9)
    put_picture(tmp_path / "x.png", grey=9)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "path,frame,caption,prompt,note\nclips/x.mp4,x.png,one,other,kept\n"),
        (
            "list.jsonl",
            '{"path": "clips/x.mp4", "frame": "x.png", "caption": "one", "prompt": "other", '
            '"note": "kept"}\n',
        ),
    ],
)
def test_columns_are_what_the_user_says(data: Path, name: str, text: str) -> None:
    (data / name).write_text(text)
    (sample,) = load_suite(f"table:{data / name}", {**COLUMNS, "stride": 4})
    assert (sample.id, sample.prompt) == ("x", "one")
    assert dict(sample.extra) == {"prompt_column": "other", "note": "kept"}
    assert sample.load_first_frame(GEOMETRY)[0, 0, 0] == 9
    assert [int(f[0, 0, 0]) for f in sample.load_reference(GEOMETRY).frames] == [0, 4, 8]


def test_ids_are_made_where_there_are_none(data: Path) -> None:
    (data / "a.csv").write_text("prompt\na dog runs\na cat, asleep\n".replace("t, a", "t a"))
    assert [s.id for s in load_suite(f"table:{data / 'a.csv'}")] == ["a-dog-runs", "a-cat-asleep"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reference\nclips/no.mp4\n", "clips/no.mp4 is missing"),
        ("reference\n../x.mp4\n", "'../x.mp4' leaves its folder"),
        ("reference\n/etc/passwd\n", "'/etc/passwd' is absolute"),
        ("prompt\nsame\nsame\n", "line 3 is the same sample as line 2"),
        ("id,prompt\n../a,x\n", "line 2: sample id '../a'"),
        ("note,prompt\nx,\n", "line 2 lacks 'prompt', 'image' and 'reference'"),
        ("reference,caption\nclips/x.mp4,a dog\n", "or give the option prompt=caption (or add"),
        ("path,prompt\nclips/x.mp4,a dog\n", "give the option image=path or reference=path"),
        ("reference\nCLIPS/x.mp4\n", "'CLIPS/x.mp4' does not exist, 'clips/x.mp4' does"),
        ("promt\nx\n", "column 'promt' is unknown: did you mean 'prompt'?"),
    ],
)
def test_a_bad_table_is_named(data: Path, text: str, said: str) -> None:
    (data / "a.csv").write_text(text)
    assert said in refusal(f"table:{data / 'a.csv'}")


def test_one_column_may_have_two_meanings(data: Path) -> None:
    (data / "a.csv").write_text("name,file\nx,clips/x.mp4\n")
    options = {"id": "name", "prompt": "name", "reference": "file"}
    (sample,) = load_suite(f"table:{data / 'a.csv'}", options)
    assert (sample.id, sample.prompt) == ("x", "x")
