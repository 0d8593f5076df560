from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from i2vbench.clip import Geometry
from i2vbench.suites import animatebench, load_suite
from tests.suites.miniatures import litter, put_picture, refusal

GEOMETRY = Geometry(num_frames=4, height=16, width=16, fps=8)


def put_config(folder: Path, style: str, prompts: object) -> None:
    (folder / "configs").mkdir(exist_ok=True)
    content = {"base": "x", "prompts": prompts, "n_prompt": ["bad"]}
    (folder / "configs" / f"{style}.yaml").write_text(yaml.safe_dump(content))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """AnimateBench with two styles of two pictures, two prompts each."""
    for name, number in (("NUM_STYLES", 2), ("NUM_PICTURES", 4), ("NUM_CASES", 8)):
        monkeypatch.setattr(animatebench, name, number)
    for style in ("film", "lyriel"):
        put_picture(tmp_path / "img" / style / "2.png", grey=2)
        put_picture(tmp_path / "img" / style / "10.png", grey=10)
        put_config(tmp_path, style, [[f"{style} {n} {p}" for p in "ab"] for n in (2, 10)])
    return tmp_path


def test_each_picture_has_its_prompts(data: Path) -> None:
    litter(data)
    suite = load_suite(f"animatebench:{data}")
    assert (suite.name, len(suite)) == ("animatebench", 8)
    for sample in suite:
        style, number, _ = sample.prompt.split()
        assert sample.category == style
        assert sample.load_first_frame(GEOMETRY)[0, 0, 0] == int(number)


def test_wrong_counts_and_files_are_named(data: Path) -> None:
    (data / "img/film/2.png").write_bytes(b"")
    (data / "img/lyriel/10.png").unlink()
    message = refusal(f"animatebench:{data}")
    assert "3 pictures, 4 are expected; 2 cases, 8 are expected" not in message
    assert "3 pictures, 4 are expected; 4 cases, 8 are expected" in message
    assert "img/film/2.png is empty" in message
    assert "configs/lyriel.yaml has prompts for 2 pictures, img has 1" in message


@pytest.mark.parametrize(
    ("prompts", "said"),
    [(["a", "b"], "one list per picture"), ([[], ["a"]], "one list per picture"), (None, "has no")],
)
def test_prompts_of_another_form_are_not_guessed_at(data: Path, prompts, said: str) -> None:
    put_config(data, "film", prompts)
    assert "configs/film.yaml has no 'prompts'" in (message := refusal(f"animatebench:{data}"))
    assert said in message


def test_a_missing_config_is_named_and_a_part_goes_on(data: Path) -> None:
    (data / "img/film/10.png").unlink()
    put_config(data, "film", [["only"]])
    assert "7 cases" not in refusal(f"animatebench:{data}")
    suite = load_suite(f"animatebench:{data}?partial=true")
    assert (suite.name, len(suite)) == ("animatebench-partial", 5)
    (data / "configs/film.yaml").unlink()
    assert "configs/film.yaml is missing" in refusal(f"animatebench:{data}")
    assert "no folder img" in refusal(f"animatebench:{data / 'img'}")
