from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2vbench.clip import Geometry
from i2vbench.errors import UserError
from i2vbench.suites import load_suite

GEOMETRY = Geometry(num_frames=4, height=16, width=16, fps=8)


def put_pictures(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (number, 0, 0)).save(path)


def put_prompts(folder: Path, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "prompts.csv"
    path.write_text("\n".join(("file,prompt", *lines)) + "\n", encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_suite(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pictures_with_prompts_are_a_suite(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    put_pictures(folder, "fox.png", "sub/My dog (2).jpg")
    table = put_prompts(folder, 'fox.png,"a 🦊, running"', "sub/My dog (2).jpg,")
    for target in (folder, table):
        suite = load_suite(target)
        assert suite.name == "mine"
        assert [(sample.id, sample.prompt) for sample in suite] == [
            ("fox", "a 🦊, running"),
            ("My-dog--2", ""),
        ]
        picture = suite.samples[0].load_first_frame(GEOMETRY)
        assert picture.shape == (4, 6, 3)
        np.testing.assert_array_equal(picture[0, 0], [0, 0, 0])


def test_without_prompts_the_error_says_what_to_write(tmp_path: Path) -> None:
    put_pictures(tmp_path, "b.png", "a.jpg")
    message = refusal(tmp_path)
    assert "2 pictures" in message
    assert "'file,prompt'" in message
    assert "'a.jpg,what happens in the video'" in message
    # Written as told, it loads.
    put_prompts(tmp_path, "a.jpg,what happens in the video", "b.png,it rains")
    assert len(load_suite(tmp_path)) == 2


def test_ids_are_safe_unique_and_blind_to_order(tmp_path: Path) -> None:
    lines = ["a/x.png,", "b/X.png,", "写真.png,", "図.png,", "..hidden.png,", f"{'n' * 200}.png,"]
    put_prompts(tmp_path, *lines)
    ids = {sample.id for sample in load_suite(tmp_path)}
    assert len({sample_id.lower() for sample_id in ids}) == 6
    put_prompts(tmp_path, *reversed(lines))
    assert {sample.id for sample in load_suite(tmp_path)} == ids
    assert max(map(len, ids)) <= 120


def test_one_picture_may_have_two_prompts(tmp_path: Path) -> None:
    put_prompts(tmp_path, "a.png,it rains", "a.png,it snows")
    first, second = load_suite(tmp_path)
    assert first.id != second.id
    assert first.id.startswith("a-")


def test_the_same_row_twice_is_refused(tmp_path: Path) -> None:
    put_prompts(tmp_path, "a.png,it rains", "a.png,it rains")
    assert "line 3: is the same sample" in refusal(tmp_path)


def test_given_ids_and_categories_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text("file,prompt,id,category,lens\na.png,x,one,day,35\nb.png,y,,,\n")
    one, other = load_suite(tmp_path)
    assert (one.id, one.category, dict(one.extra)) == ("one", "day", {"lens": "35"})
    assert (other.id, other.category, dict(other.extra)) == ("b", "", {})


def test_a_given_id_that_is_no_file_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text("file,id\na.png,ok\nb.png,../b\n")
    assert "line 3: sample id '../b'" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "a/../../b.png"])
def test_no_picture_outside_the_folder_is_read(tmp_path: Path, name: str) -> None:
    put_prompts(tmp_path / "mine", f"{name},x")
    assert "line 2: " in refusal(tmp_path / "mine")
    assert "accepted are paths inside" in refusal(tmp_path / "mine")


def test_a_misspelt_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text("files,prompts\na.png,x\n")
    assert "did you mean 'file'?" in refusal(tmp_path)


def test_files_left_out_are_a_note(tmp_path: Path) -> None:
    put_pictures(tmp_path, "a.png", "b.png", "c.png", "sub/d.png", "sub/e.png")
    (tmp_path / "f.heic").touch()
    (tmp_path / "readme.txt").touch()
    put_prompts(tmp_path, "a.png,x", "sub/d.png,y")
    suite = load_suite(tmp_path)
    assert len(suite) == 2
    assert suite.notes == (
        "4 of 6 files are left out: b.png, c.png, f.heic, sub/ (a subfolder with 1 file); "
        "prompts.csv does not list them",
    )
    put_prompts(
        tmp_path, *(f"{n},x" for n in ("a.png", "b.png", "c.png", "sub/d.png", "sub/e.png"))
    )
    (tmp_path / "f.heic").unlink()
    assert load_suite(tmp_path).notes == ()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            "file,caption",
            "no column 'prompt' but 'caption': rename it to 'prompt' (or add an empty",
        ),
        ("file,Caption_EN", "no column 'prompt' but 'Caption_EN'"),
        ("filename,prompt", "no column 'file' but 'filename': rename it"),
        ("image,prompt", "no column 'file' but 'image'"),
        ("ImagePath,prompt", "no column 'file' but 'ImagePath'"),
    ],
)
def test_names_of_other_projects_are_asked_about(tmp_path: Path, header: str, said: str) -> None:
    put_pictures(tmp_path, "a.png")
    (tmp_path / "prompts.csv").write_text(f"{header}\na.png,a cat\n")
    assert said in refusal(tmp_path)


def test_an_empty_column_says_that_there_are_no_prompts(tmp_path: Path) -> None:
    put_pictures(tmp_path, "a.png")
    (tmp_path / "prompts.csv").write_text("file,prompt,caption\na.png,,a cat\n")
    (sample,) = load_suite(tmp_path)
    assert (sample.prompt, dict(sample.extra)) == ("", {"caption": "a cat"})


def test_a_manifest_comes_before_prompts(tmp_path: Path) -> None:
    put_prompts(tmp_path, "a.png,x")
    (tmp_path / "manifest.csv").write_text("id,prompt\nfrom-manifest,x\n")
    assert [sample.id for sample in load_suite(tmp_path)] == ["from-manifest"]
