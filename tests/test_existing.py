"""Videos that exist already, good and bad, through the command line's road."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from i2vbench.cli import cli
from i2vbench.clip import Clip
from i2vbench.errors import UserError
from i2vbench.existing import open_existing
from i2vbench.files import read_rows
from i2vbench.metric import ClipMetric
from i2vbench.results import load_results
from i2vbench.scoring import score, score_run
from i2vbench.video_io import read_video, write_video
from tests.conftest import picture_of

METRICS = ["temporal_flickering", "lpips_reference"]


def moving(seed: int, num_frames: int = 6) -> Clip:
    frames = [np.roll(picture_of(seed, 40), 2 * i, 1) for i in range(num_frames)]
    return Clip(frames=np.stack(frames), fps=8)


@pytest.fixture
def videos(tmp_path):
    """Four sound videos and five that are not, with a manifest of the lot."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    rows = ["id,prompt,image,video,reference"]
    for number in range(4):
        write_video(folder / f"v{number}.mp4", moving(number))
        write_video(folder / f"r{number}.mp4", moving(number + 50))
        Image.fromarray(picture_of(number, 40)).save(folder / f"i{number}.png")
        prompt = f'"say ""{number}"" 🐱 {"word " * 300}"'
        rows.append(f"s{number},{prompt},i{number}.png,v{number}.mp4,r{number}.mp4")
    whole = (folder / "v0.mp4").read_bytes()
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_bytes(b"this is no video")
    write_video(folder / "one.mp4", moving(9, num_frames=1))
    rows += [f"{name},p,,{name}.mp4,r0.mp4" for name in ("empty", "cut", "text", "one", "gone")]
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def test_bad_videos_are_rows_and_the_rest_is_scored(videos, tmp_path):
    run, plan, card = open_existing(videos / "manifest.csv", tmp_path / "runs", "theirs")
    scores = score_run(run, plan, card, metrics=METRICS).scores
    distance, flicker = sorted(scores, key=lambda score: score.metric)
    assert (flicker.n_scored, flicker.n_expected) == (4, 9)
    # One frame has no neighbour to flicker against, yet a distance to the real one.
    assert (distance.n_scored, distance.n_expected) == (5, 9)
    rows = {row["id"]: row for row in read_rows(next(run.path.glob("scores/temporal*")))}
    assert "at least 2 frames, got 1" in rows["one"]["error"]
    for name in ("empty", "cut", "text", "gone"):
        assert f"{name}.mp4" in rows[name]["error"]
        assert "\n" not in rows[name]["error"]
    assert run.takes()["gone", 0].status == "failed"


def test_a_copy_of_the_reference_is_at_distance_zero(videos, tmp_path):
    for number in range(4):
        (videos / f"v{number}.mp4").write_bytes((videos / f"r{number}.mp4").read_bytes())
    run, plan, card = open_existing(videos, tmp_path / "runs")
    (distance,) = score_run(run, plan, card, metrics=["lpips_reference"]).scores
    rows = read_rows(next(run.path.glob("scores/lpips*")))
    assert [row["value"] for row in rows[:4]] == pytest.approx([0] * 4, abs=1e-7)
    assert distance.value is not None


def test_a_run_of_existing_videos_is_scored_again_from_its_path(videos, tmp_path):
    run, plan, card = open_existing(videos, tmp_path / "runs")
    first = score_run(run, plan, card, metrics=METRICS)
    assert score(run.path, metrics=METRICS) == first


def test_other_videos_are_another_run(videos, tmp_path):
    first = open_existing(videos, tmp_path / "runs")[0]
    assert open_existing(videos, tmp_path / "runs")[0].path == first.path
    write_video(videos / "v0.mp4", moving(77))
    assert open_existing(videos, tmp_path / "runs")[0].path != first.path


def test_a_folder_without_readable_videos_is_one_line(tmp_path):
    folder = tmp_path / "none"
    folder.mkdir()
    with pytest.raises(UserError, match="mp4"):
        open_existing(folder, tmp_path / "runs")
    (folder / "a.mp4").write_bytes(b"no")
    with pytest.raises(UserError, match=r"no readable video; the first error: .*a\.mp4"):
        open_existing(folder, tmp_path / "runs")


def folder_of(tmp_path, name, numbers):
    """A folder of videos v0.mp4, v1.mp4 ... that hold the motions of these numbers."""
    folder = tmp_path / name
    folder.mkdir()
    for place, number in enumerate(numbers):
        write_video(folder / f"v{place}.mp4", moving(number))
    return folder


def scored(folder, out, *more):
    """The command line's exit code and output, and the results that it left."""
    command = ["score", folder, "-o", out, "--metrics", "temporal_flickering", "--quiet", *more]
    done = CliRunner().invoke(cli, [str(each) for each in command])
    assert done.exception is None or isinstance(done.exception, SystemExit | UserError)
    place = [line for line in done.output.splitlines() if line.startswith("Results: ")]
    results = load_results(Path(place[0].removeprefix("Results: "))) if place else None
    return done, results


def test_exchanged_videos_are_another_run_with_the_values_exchanged(tmp_path):
    folder = folder_of(tmp_path, "theirs", [1, 2])
    first = open_existing(folder, tmp_path / "runs")
    before = [r["value"] for r in rows_of(*first)]
    (folder / "v0.mp4").rename(folder / "x")
    (folder / "v1.mp4").rename(folder / "v0.mp4")
    (folder / "x").rename(folder / "v1.mp4")
    second = open_existing(folder, tmp_path / "runs")
    assert second[0].path != first[0].path
    assert [r["value"] for r in rows_of(*second)] == before[::-1]
    assert before[0] != before[1]


def rows_of(run, plan, card):
    score_run(run, plan, card, metrics=["temporal_flickering"])
    return read_rows(next(run.path.glob("scores/temporal*")))


def test_a_renamed_or_moved_folder_keeps_its_scores(tmp_path, monkeypatch):
    folder = folder_of(tmp_path, "theirs", [1, 2])
    _, first = scored(folder, tmp_path / "runs")
    (tmp_path / "elsewhere").mkdir()
    moved = folder.rename(tmp_path / "elsewhere" / "renamed")

    def nothing(*arguments):
        raise AssertionError("the clips were scored already")

    monkeypatch.setattr("i2vbench.metrics.motion.TemporalFlickering.score_clip", nothing)
    done, second = scored(moved, tmp_path / "runs")
    assert done.exit_code == 0, done.output
    assert second.scores == first.scores
    assert second.run == first.run
    assert (first.model["name"], second.model["name"]) == ("theirs", "renamed")
    # One run directory, not two.
    assert len(list((tmp_path / "runs").glob("*/*/run.json"))) == 1


def test_a_name_that_was_asked_for_is_an_entry_of_its_own(tmp_path):
    folder = folder_of(tmp_path, "theirs", [1])
    names = [("a",), ("b",), ()]
    runs = {scored(folder, tmp_path / "runs", *(f"--name={n}" for n in name))[1].run
            for name in names}  # fmt: skip
    assert len(runs) == 3


def test_uneven_numbers_of_takes_are_no_failures(tmp_path):
    folder = folder_of(tmp_path, "theirs", [1, 2, 3])
    rows = ["id,prompt,video", "a,one,v0.mp4", "a,one,v1.mp4", "b,two,v2.mp4"]
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    done, results = scored(folder, tmp_path / "runs")
    assert done.exit_code == 0, done.output
    assert results.counts == {"expected": 3, "ok": 3, "failed": 0, "skipped": 0}
    (flicker,) = results.scores
    assert (flicker.n_scored, flicker.n_expected) == (3, 3)
    (path,) = (tmp_path / "runs").glob("*/*")
    values = {(r["id"], r["take"]): r["value"] for r in read_rows(next(path.glob("scores/*")))}
    assert list(values) == [("a", 0), ("a", 1), ("b", 0)]
    by_sample = [(values["a", 0] + values["a", 1]) / 2, values["b", 0]]
    assert flicker.value == pytest.approx(sum(by_sample) / 2)
    # From the run alone, the same.
    assert score(path, metrics=["temporal_flickering"]) == results


def test_an_unreadable_video_is_a_failed_clip_and_exit_code_1(tmp_path):
    folder = folder_of(tmp_path, "theirs", [1, 2, 3])
    (folder / "v1.mp4").write_bytes(b"no video")
    for _ in range(2):
        done, results = scored(folder, tmp_path / "runs")
        assert done.exit_code == 1
        assert "failed: v1, take 0:" in done.output
        assert "v1.mp4" in done.output
        assert (results.counts["ok"], results.counts["failed"]) == (2, 1)
    run = next((tmp_path / "runs").glob("*/*"))
    shown = CliRunner().invoke(cli, ["show", str(run)])
    assert "2 ok, 1 failed" in shown.output
    assert "v1.mp4" in shown.output
    assert scored(folder, tmp_path / "runs", "--max-failures", "1")[0].exit_code == 0


def test_a_video_that_was_replaced_after_the_scoring_is_noticed(tmp_path):
    folder = folder_of(tmp_path, "theirs", [1, 2, 3])
    _, before = scored(folder, tmp_path / "runs")
    (run,) = (tmp_path / "runs").glob("*/*")
    write_video(folder / "v0.mp4", moving(9))
    # The run of before does not have this video.
    done, results = scored(run, tmp_path / "runs")
    assert done.exit_code == 1
    assert "v0.mp4 is not the file that was recorded" in done.output
    (flicker,) = results.scores
    assert (flicker.n_scored, flicker.n_expected) == (2, 3)
    # The folder as it is now is another run, complete.
    done, results = scored(folder, tmp_path / "runs")
    assert (done.exit_code, results.scores[0].n_scored) == (0, 3)
    assert results.run != before.run
    write_video(folder / "v0.mp4", moving(1))
    done, results = scored(folder, tmp_path / "runs")
    assert (done.exit_code, results) == (0, before)


def test_a_flipped_bit_in_a_video_that_still_decodes_is_noticed(tmp_path):
    folder = folder_of(tmp_path, "theirs", [1, 2])
    _, before = scored(folder, tmp_path / "runs")
    (run,) = (tmp_path / "runs").glob("*/*")
    whole = (folder / "v1.mp4").read_bytes()
    # In the track's name, which no decoder looks at.
    place = whole.index(b"VideoHandler")
    (folder / "v1.mp4").write_bytes(whole[:place] + b"W" + whole[place + 1 :])
    assert np.array_equal(read_video(folder / "v1.mp4").frames, moving(2).frames)
    done, results = scored(run, tmp_path / "runs")
    assert done.exit_code == 1
    assert "v1.mp4 is not the file that was recorded" in done.output
    assert results.counts["failed"] == 1
    (folder / "v1.mp4").write_bytes(whole)
    done, results = scored(run, tmp_path / "runs")
    assert (done.exit_code, results) == (0, before)


def test_clips_of_mixed_sizes_and_rates_are_told_and_the_first_decides_nothing(tmp_path):
    folder = folder_of(tmp_path, "theirs", [1, 2, 3])
    frames = np.stack([picture_of(5, 32)] * 4)
    write_video(folder / "a.mp4", Clip(frames=frames, fps=24))
    done, results = scored(folder, tmp_path / "runs")
    assert done.exit_code == 0, done.output
    first, second = results.geometry
    assert first == {"num_frames": 6, "height": 40, "width": 40, "fps": 8.0, "num_clips": 3}
    assert second == {"num_frames": 4, "height": 32, "width": 32, "fps": 24.0, "num_clips": 1}
    shown = CliRunner().invoke(cli, ["show", str(next((tmp_path / "runs").glob("*/*")))])
    assert "3 of 6 frames of 40x40 at 8 fps" in shown.output
    assert "1 of 4 frames of 32x32 at 24 fps" in shown.output
    rows = read_rows(next((tmp_path / "runs").glob("*/*/scores/*")))
    assert len([row for row in rows if not row["error"]]) == 4


def test_a_first_video_that_is_short_does_not_cut_the_others(tmp_path):
    folder = folder_of(tmp_path, "theirs", [1, 2])
    references = folder_of(tmp_path / "theirs", "real", [51, 52])
    write_video(folder / "a.mp4", moving(3, num_frames=2))
    rows = ["id,video,reference", "a,a.mp4,real/v0.mp4"]
    rows += [f"v{n},v{n}.mp4,{references.name}/v{n}.mp4" for n in range(2)]
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    run, plan, card = open_existing(folder, tmp_path / "runs")
    kept = []

    class Lengths(ClipMetric):
        name = "lengths"
        version = "1"
        higher_is_better = None
        needs = frozenset({"reference"})

        def score_clip(self, example):
            kept.append(
                (example.sample_id, len(example.clip.frames), len(example.reference.frames))
            )
            return 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("i2vbench.metric_runs._metric", lambda *_: Lengths())
        (found,) = score_run(run, plan, card, metrics=["temporal_flickering"]).scores
    assert kept == [("a", 2, 2), ("v0", 6, 6), ("v1", 6, 6)]
    assert any("1 of 3 references are longer" in warning for warning in found.warnings)


def test_videos_that_vanish_between_two_scorings_are_failed_ones(tmp_path):
    folder = folder_of(tmp_path, "theirs", [1, 2])
    _, before = scored(folder, tmp_path / "runs")
    (run,) = (tmp_path / "runs").glob("*/*")
    (folder / "v0.mp4").rename(tmp_path / "away.mp4")
    done, results = scored(run, tmp_path / "runs")
    assert done.exit_code in (1, 2)
    assert results is None or results.counts["failed"] == 1
    (tmp_path / "away.mp4").rename(folder / "v0.mp4")
    done, results = scored(run, tmp_path / "runs")
    assert (done.exit_code, results) == (0, before)


def test_takes_of_a_suite_that_are_missing_are_failed_ones(tmp_path, pictures):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for number in range(6):
        for take in range(2):
            if (number, take) != (3, 0):
                write_video(folder / f"p{number}-{take}.mp4", moving(10 * number + take))
    done, results = scored(folder, tmp_path / "runs", "--suite", str(pictures))
    assert done.exit_code == 1
    assert "failed: p3, take 0" in done.output
    assert (results.counts["ok"], results.counts["failed"]) == (11, 1)
    assert (results.scores[0].n_scored, results.scores[0].n_expected) == (11, 12)
