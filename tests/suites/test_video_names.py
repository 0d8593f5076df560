from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from i2vbench.cli import cli
from i2vbench.errors import UserError
from i2vbench.existing import open_existing
from i2vbench.reopen import reopen_run
from i2vbench.suites import load_suite
from i2vbench.suites.manifest import videos_of
from i2vbench.suites.video_names import takes_by_name, takes_of_suite, write_manifest
from tests.suites.miniatures import litter, put_video

DOG = "a dog, running - fast-2"
CAT = "a cat"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two prompts with three takes, of which one is missing."""
    folder = tmp_path / "sampled"
    video = put_video(tmp_path / "one.mp4")
    folder.mkdir()
    for name in (f"{DOG}-0", f"{DOG}-1", f"{DOG}-2", f"{CAT}-0", f"{CAT}-2"):
        shutil.copy(video, folder / f"{name}.mp4")
    return folder


@pytest.fixture
def suite(tmp_path: Path):
    (tmp_path / "list.csv").write_text(f'id,prompt\ndog,"{DOG}"\ncat,{CAT}\nbird,a bird\n')
    return load_suite(f"table:{tmp_path / 'list.csv'}")


def test_names_are_split_at_the_last_number(folder: Path) -> None:
    litter(folder)
    takes = takes_by_name(folder)
    assert {prompt: [path.name for path in paths] for prompt, paths in takes.items()} == {
        CAT: [f"{CAT}-{k}.mp4" for k in range(3)],
        DOG: [f"{DOG}-{k}.mp4" for k in range(3)],
    }


def test_a_manifest_keeps_the_place_of_a_missing_take(folder: Path) -> None:
    result = CliRunner().invoke(cli, ["import-names", str(folder)], catch_exceptions=False)
    assert "manifest.csv: 6 rows" in result.output
    suite, videos = videos_of(folder)
    assert {sample.prompt for sample in suite} == {DOG, CAT}
    cat = next(sample.id for sample in suite if sample.prompt == CAT)
    assert [path.is_file() for path in videos[cat]] == [True, False, True]
    with pytest.raises(UserError, match="exists; move it away"):
        write_manifest(folder, folder / "manifest.csv")
    with pytest.raises(UserError, match=r"accepted is a \.csv in"):
        write_manifest(folder, folder.parent / "manifest.csv")


def test_videos_answer_the_samples_of_a_suite(folder: Path, suite, tmp_path: Path) -> None:
    for name in (f"{DOG}-0", f"{DOG}-1", f"{DOG}-2"):
        (folder / f"{name}.mp4").rename(folder / f"dog-{name[-1]}.mp4")
    run, plan, card = open_existing(folder, tmp_path / "runs", "ours", suite)
    takes = run.takes()
    assert card.name == "ours"
    # Samples may differ in their numbers of takes; one without any is one missing clip.
    assert len(plan.requests) == len(takes) == 7
    assert {key for key, take in takes.items() if take.status == "ok"} == {
        *(("dog", k) for k in range(3)),
        ("cat", 0),
        ("cat", 2),
    }
    assert "cat-1.mp4 does not exist" in takes["cat", 1].error
    assert takes["bird", 0].error == "no such video was given"
    _, again, _ = reopen_run(run.path)
    assert again.suite.content_sha256 == suite.content_sha256


def test_names_that_fit_nothing_are_named(folder: Path, suite, tmp_path: Path) -> None:
    put_video(folder / "a cow-0.mp4")
    with pytest.raises(UserError, match="'a cow' is unknown; names are") as caught:
        takes_of_suite(folder, suite)
    assert "\n" not in str(caught.value)
    (folder / "a cow-0.mp4").unlink()
    shutil.copy(folder / f"{CAT}-0.mp4", folder / "cat-0.mp4")
    with pytest.raises(UserError, match="'cat' has videos by its id and by its prompt"):
        takes_of_suite(folder, suite)


def test_names_without_a_take_and_double_takes_are_named(folder: Path) -> None:
    put_video(folder / "plain.mp4")
    put_video(folder / f"{CAT}-00.mp4")
    with pytest.raises(UserError) as caught:
        takes_by_name(folder)
    assert "'plain.mp4' ends with no take" in str(caught.value)
    assert "are the same take" in str(caught.value)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(UserError, match="has no videos"):
        takes_by_name(folder)


def put_names(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")


def test_uneven_takes_are_what_they_are(tmp_path: Path) -> None:
    names = [*(f"a flag-{k}.mp4" for k in range(3)), "a cat-0.mp4"]
    put_names(tmp_path, *names)
    write_manifest(tmp_path, tmp_path / "manifest.csv")
    _, videos = videos_of(tmp_path)
    assert {key: len(paths) for key, paths in videos.items()} == {"a-flag": 3, "a-cat": 1}
    assert all(path.is_file() for paths in videos.values() for path in paths)


def test_takes_that_count_from_one_are_said_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_names(tmp_path, "a-1.mp4", "a-3.mp4", "b-1.mp4")
    takes = takes_by_name(tmp_path)
    assert {k: [p.name for p in v] for k, v in takes.items()} == {
        "a": ["a-1.mp4", "a-2.mp4", "a-3.mp4"],
        "b": ["b-1.mp4"],
    }
    assert "no name ends with -0; takes are counted from 1" in caplog.text
    # One take 0 in the folder, and they count from 0: that of 'b' is missing.
    put_names(tmp_path, "a-0.mp4")
    assert [path.name for path in takes_by_name(tmp_path)["b"]] == ["b-0.mp4", "b-1.mp4"]


def test_numbers_that_are_no_takes_are_refused(tmp_path: Path) -> None:
    put_names(tmp_path, "clip-2024.mp4", "clip-2025.mp4")
    with pytest.raises(UserError, match="'clip' has 2 takes, the last is 2025"):
        takes_by_name(tmp_path)


def test_other_files_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put_names(tmp_path, "a-0.mp4", "a-1.bin", "prompts.txt")
    put_names(tmp_path / "old", "a-0.mp4")
    takes_by_name(tmp_path)
    (line,) = caplog.messages
    assert line.endswith("2 of 3 files are left out: a-1.bin, old/ (a subfolder with 1 file)")


@pytest.mark.parametrize(
    "stem",
    [" led by blanks", 'a "quoted", one', "=1+1", "two\nlines", "C: a drive", "sep=;", "a\\b"],
)  # fmt: skip
def test_what_is_imported_is_read_back(tmp_path: Path, stem: str) -> None:
    put_names(tmp_path, f"{stem}-0.mp4", f"{stem}-1.mp4")
    write_manifest(tmp_path, tmp_path / "manifest.csv")
    suite, videos = videos_of(tmp_path)
    (paths,) = videos.values()
    assert [path.name for path in paths] == [f"{stem}-{k}.mp4" for k in range(2)]
    assert all(path.is_file() for path in paths)
    assert [sample.prompt for sample in suite] == [stem.strip()]


def test_prompts_are_found_in_either_unicode_form(tmp_path: Path) -> None:
    composed, decomposed = "a caf\u00e9", "a cafe\u0301"
    (tmp_path / "list.csv").write_text(f"id,prompt\none,{composed}\n", encoding="utf-8")
    put_names(tmp_path / "videos", f"{decomposed}-0.mp4")
    videos = takes_of_suite(tmp_path / "videos", load_suite(f"table:{tmp_path / 'list.csv'}"))
    assert [path.name for path in videos["one"]] == [f"{decomposed}-0.mp4"]
    assert videos["one"][0].is_file()


def test_a_name_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9-0.mp4")).write_bytes(b"x")
    with pytest.raises(UserError, match="is no UTF-8 name; rename it") as caught:
        takes_by_name(tmp_path)
    assert str(caught.value).encode()
