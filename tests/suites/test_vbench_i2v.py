from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from i2vbench.clip import Geometry
from i2vbench.suites import load_suite, vbench_i2v
from i2vbench.suites.vbench_i2v import CAMERA_MOTIONS, RATIOS, nearest_ratio
from tests.suites.miniatures import litter, put_picture, refusal

SUBJECT, BACKGROUND = "a dog on a beach", "a house by a lake"


def entries() -> list[dict]:
    """One picture of a subject and one of a background, as VBench lists them."""

    def entry(prompt: str, picture: str, kind: str, dimension: list[str]) -> dict:
        return {
            "prompt_en": prompt,
            "dimension": dimension,
            "image_type": kind,
            "image_name": f"{picture}.jpg",
        }

    motions = [
        entry(f"{BACKGROUND}, {motion}", BACKGROUND, "architecture", ["camera_motion"])
        for motion in CAMERA_MOTIONS
    ]
    return [
        entry(BACKGROUND, BACKGROUND, "architecture", ["i2v_background", "imaging_quality"]),
        *motions,
        entry(SUBJECT, SUBJECT, "animal", ["i2v_subject", "dynamic_degree"]),
    ]


def put_info(folder: Path, content: object) -> None:
    (folder / "vbench2_i2v_full_info.json").write_text(json.dumps(content))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """VBench's folder with nine prompts for two pictures in four ratios."""
    monkeypatch.setattr(vbench_i2v, "NUM_PROMPTS", 9)
    monkeypatch.setattr(vbench_i2v, "NUM_PICTURES", 2)
    monkeypatch.setattr(vbench_i2v, "NUM_CAMERA_PROMPTS", 7)
    put_info(tmp_path, entries())
    for ratio in RATIOS:
        across, down = map(int, ratio.split("-"))
        for name in (SUBJECT, BACKGROUND):
            put_picture(tmp_path / "data/crop" / ratio / f"{name}.jpg", 4 * across, 4 * down)
    return tmp_path


def test_every_prompt_is_a_sample(data: Path) -> None:
    litter(data)
    suite = load_suite(f"vbench-i2v:{data}")
    assert (suite.name, len(suite), suite.num_takes, suite.notes) == ("vbench-i2v", 9, 5, ())
    by_prompt = {sample.prompt: sample for sample in suite}
    plain, panned = by_prompt[BACKGROUND], by_prompt[f"{BACKGROUND}, camera pans left"]
    assert "camera_motion" not in plain.extra
    assert plain.extra["dimensions"] == "i2v_background imaging_quality"
    assert (plain.category, by_prompt[SUBJECT].category) == ("architecture", "animal")
    assert panned.extra["camera_motion"] == "pan_left"
    assert {s.extra.get("camera_motion") for s in suite} == {None, *CAMERA_MOTIONS.values()}
    assert plain.load_reference is None


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [(256, 256, (4, 4)), (512, 320, (20, 32)), (1024, 576, (36, 64)), (720, 480, (20, 32)),
     (320, 512, (4, 4))],
)  # fmt: skip
def test_the_picture_has_the_ratio_of_the_model(
    data: Path, width: int, height: int, shape: tuple[int, int]
) -> None:
    sample = pickle.loads(pickle.dumps(load_suite(f"vbench-i2v:{data}").samples[0]))
    geometry = Geometry(num_frames=16, height=height, width=width, fps=8)
    assert sample.load_first_frame(geometry).shape[:2] == shape


def test_a_ratio_can_be_chosen(data: Path) -> None:
    geometry = Geometry(num_frames=16, height=256, width=256, fps=8)
    suite = load_suite(f"vbench-i2v:{data}?ratio=7-4")
    assert suite.samples[0].load_first_frame(geometry).shape[:2] == (16, 28)
    assert suite.content_sha256 != load_suite(f"vbench-i2v:{data}").content_sha256
    put_picture(data / "data/target_crop/5-4" / f"{SUBJECT}.jpg", 20, 16)
    message = refusal(f"vbench-i2v:{data}?ratio=5-4")
    assert f"data/target_crop/5-4/{BACKGROUND}.jpg is missing" in message
    assert "ratio is 'wide'; accepted: auto, 1-1" in refusal(f"vbench-i2v:{data}?ratio=wide")


def test_ready_crops_may_lie_beside_the_json(data: Path) -> None:
    expected = load_suite(f"vbench-i2v:{data}").content_sha256
    (data / "data" / "crop").rename(data / "crop")
    assert load_suite(f"vbench-i2v:{data}").content_sha256 == expected


def test_a_missing_ratio_is_not_replaced_by_another(data: Path) -> None:
    shutil.rmtree(data / "data/crop/16-9")
    message = refusal(f"vbench-i2v:{data}")
    assert "no pictures of ratio 16-9" in message
    assert "there: 1-1, 7-4, 8-5" in message
    assert len(load_suite(f"vbench-i2v:{data}?ratio=1-1")) == 9


def test_missing_pictures_are_named(data: Path) -> None:
    (data / "data/crop/1-1" / f"{SUBJECT}.jpg").unlink()
    (data / "data/crop/8-5" / f"{BACKGROUND}.jpg").write_bytes(b"")
    message = refusal(f"vbench-i2v:{data}")
    assert f"data/crop/1-1/{SUBJECT}.jpg is missing" in message
    assert f"data/crop/8-5/{BACKGROUND}.jpg is empty" in message
    put_picture(data / "data/crop/8-5" / f"{BACKGROUND}.jpg")
    suite = load_suite(f"vbench-i2v:{data}?partial=true")
    assert (suite.name, len(suite)) == ("vbench-i2v-partial", 8)
    assert "8 of 9 prompts" in suite.notes[0]


def test_the_published_counts_are_expected(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    message = refusal(f"vbench-i2v:{data}")
    assert "9 prompts, 1118 are expected; 2 pictures in the JSON, 355 are expected" in message
    assert "7 prompts of camera motion, 763 are expected" in message


def test_the_hash_follows_the_pictures_of_every_ratio(data: Path) -> None:
    hashes = {load_suite(f"vbench-i2v:{data}").content_sha256}
    for ratio in RATIOS:
        put_picture(data / "data/crop" / ratio / f"{SUBJECT}.jpg", grey=9)
        hashes.add(load_suite(f"vbench-i2v:{data}").content_sha256)
    assert len(hashes) == 5


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"image_name": "../x.jpg"}, "image_name '../x.jpg' is no file name"),
        ({"image_name": "..\\x.jpg"}, "is no file name"),
        ({"prompt_en": SUBJECT}, "is empty or stands twice"),
        ({"dimension": 3}, "is not VBench's JSON"),
        ({"dimension": ["camera_motion"]}, "is no camera motion"),
    ],
)
def test_a_json_that_is_another_is_named(data: Path, changed: dict, said: str) -> None:
    content = entries()
    content[0] |= changed
    put_info(data, content)
    assert said in refusal(f"vbench-i2v:{data}")


def test_the_json_is_asked_for(data: Path) -> None:
    put_info(data, {})
    assert "is not VBench's JSON (TypeError: no list)" in refusal(f"vbench-i2v:{data}")
    (data / "vbench2_i2v_full_info.json").unlink()
    assert "vbench2_i2v_full_info.json is missing; give the folder" in refusal(f"vbench-i2v:{data}")


def test_no_picture_lies_outside(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = put_picture(tmp_path_factory.mktemp("out") / "secret.jpg")
    path = data / "data/crop/1-1" / f"{SUBJECT}.jpg"
    path.unlink()
    path.symlink_to(outside)
    assert "is a link out of its folder" in refusal(f"vbench-i2v:{data}")


def test_the_nearest_ratio_is_a_factor_away() -> None:
    sizes = [(1, 1), (576, 320), (832, 480), (854, 480), (480, 854), (1, 100), (100, 1)]
    found = [nearest_ratio(RATIOS, *size) for size in sizes]
    assert found == ["1-1", "16-9", "7-4", "16-9", "1-1", "1-1", "16-9"]


def test_prompts_of_one_picture_share_its_key(data: Path) -> None:
    def keys(**options: object) -> dict[str, str]:
        suite = load_suite(f"vbench-i2v:{data}", options)
        return {sample.prompt: sample.picture_key for sample in suite}

    for path in (data / "data/crop").glob(f"*/{SUBJECT}.jpg"):
        path.write_bytes(path.read_bytes() + path.parent.name.encode())
    before = keys()
    assert len(set(before.values())) == 2
    # Another ratio is another set of pictures.
    assert before[SUBJECT] not in keys(ratio="1-1").values()
    # So is one picture drawn anew, of any ratio, and also one changed in its middle.
    for number, content in enumerate((bytes(3 * 2**20), bytearray(3 * 2**20))):
        if number:
            content[3 * 2**19] = 1
        (data / "data/crop/8-5" / f"{SUBJECT}.jpg").write_bytes(content)
        after = keys()
        assert after[SUBJECT] != before[SUBJECT]
        assert after[BACKGROUND] == before[BACKGROUND]
        before = after
