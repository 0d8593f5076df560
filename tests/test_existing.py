"""Videos that exist already, good and bad, through the command line's road."""

import numpy as np
import pytest
from PIL import Image

from i2vbench.clip import Clip
from i2vbench.errors import UserError
from i2vbench.existing import open_existing
from i2vbench.files import read_rows
from i2vbench.scoring import score, score_run
from i2vbench.video_io import write_video
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
