from __future__ import annotations

import csv
import json
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2vbench.clip import Clip, Geometry
from i2vbench.errors import UnreadableClipError, UserError
from i2vbench.suites import load_suite
from i2vbench.suites.manifest import videos_of
from i2vbench.video_io import write_video

GEOMETRY = Geometry(num_frames=4, height=16, width=16, fps=8)
EMOJI = "a 🦊 jumps over “the” naïve 狗"


def frames(seed: int, num_frames: int = 4) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (num_frames, 16, 24, 3), dtype=np.uint8)


def put_picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frames(seed)[0]).save(path)


def put_video(path: Path, seed: int = 0) -> None:
    write_video(path, Clip(frames=frames(seed), fps=8))


def put_jsonl(
    folder: Path, rows: Sequence[Mapping[str, object]], name: str = "manifest.jsonl"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def put_csv(folder: Path, rows: Sequence[Mapping[str, object]], name: str = "manifest.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_suite(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("put", [put_csv, put_jsonl])
def test_rows_become_samples(tmp_path: Path, put) -> None:
    put_picture(tmp_path / "set" / "in" / "fox.png", seed=1)
    put_video(tmp_path / "set" / "fox.mp4", seed=2)
    rows = [
        {
            "id": "fox",
            "prompt": EMOJI,
            "image": "in/fox.png",
            "reference": "fox.mp4",
            "category": "animal",
            "note": "seen, twice",
        },
        {
            "id": "text-only",
            "prompt": "rain",
            "image": "",
            "reference": "",
            "category": "",
            "note": "",
        },
    ]
    suite = load_suite(put(tmp_path / "set", rows))
    assert suite.name == "set"
    assert suite.source == str(tmp_path / "set" / put(tmp_path / "set", rows).name)
    fox, text_only = suite
    assert (fox.id, fox.prompt, fox.category) == ("fox", EMOJI, "animal")
    assert dict(fox.extra) == {"note": "seen, twice"}
    np.testing.assert_array_equal(fox.load_first_frame(GEOMETRY), frames(1)[0])
    np.testing.assert_array_equal(fox.load_reference(GEOMETRY).frames, frames(2))
    assert text_only.load_first_frame is None
    assert text_only.load_reference is None
    assert dict(text_only.extra) == {}


def test_without_an_image_the_reference_gives_the_first_frame(tmp_path: Path) -> None:
    put_video(tmp_path / "a.mp4", seed=3)
    (sample,) = load_suite(put_jsonl(tmp_path, [{"id": "a", "reference": "a.mp4"}]))
    np.testing.assert_array_equal(sample.load_first_frame(GEOMETRY), frames(3)[0])


def test_numbers_of_json_stay_numbers(tmp_path: Path) -> None:
    path = put_jsonl(tmp_path, [{"id": 7, "prompt": "x", "motion": 0.5, "none": None}])
    (sample,) = load_suite(path)
    assert sample.id == "7"
    assert dict(sample.extra) == {"motion": 0.5}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_as_spreadsheets_write_it(
    tmp_path: Path, newline: str, delimiter: str, mark: str
) -> None:
    long = " ".join(f"word{number}" for number in range(300))
    lines = [
        delimiter.join(["ID", "Prompt"]),
        delimiter.join(["a", '"he said ""go"", and ran; fast\tvery"']),
        "",
        delimiter.join(["b", f'"{long}"']),
        delimiter.join(["c", f'"two{newline}lines"']),
        delimiter.join(["d", EMOJI]),
        delimiter,
        "",
    ]
    (tmp_path / "manifest.csv").write_bytes((mark + newline.join(lines)).encode())
    prompts = {sample.id: sample.prompt for sample in load_suite(tmp_path)}
    assert prompts == {
        "a": 'he said "go", and ran; fast\tvery',
        "b": long,
        "c": f"two{newline}lines",
        "d": EMOJI,
    }


def test_json_lines_with_a_mark_and_blank_lines(tmp_path: Path) -> None:
    text = '\ufeff{"id": "a", "prompt": "x\u2028y"}\r\n\r\n{"id": "b", "prompt": "z"}'
    (tmp_path / "manifest.jsonl").write_bytes(text.encode())
    assert [(s.id, s.prompt) for s in load_suite(tmp_path)] == [("a", "x\u2028y"), ("b", "z")]


def test_a_missing_or_damaged_file_fails_its_own_sample_alone(tmp_path: Path) -> None:
    put_picture(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:50])
    rows = [
        {"id": name, "image": f"{name}.png", "reference": "no.mp4"}
        for name in ("good", "bad", "no")
    ]
    good, bad, absent = load_suite(put_csv(tmp_path, rows))
    assert good.load_first_frame(GEOMETRY).shape == (16, 24, 3)
    with pytest.raises(UnreadableClipError, match=r"bad\.png"):
        bad.load_first_frame(GEOMETRY)
    with pytest.raises(UnreadableClipError, match=r"no\.png: no such file"):
        absent.load_first_frame(GEOMETRY)
    with pytest.raises(UnreadableClipError, match=r"no\.mp4: no such file"):
        good.load_reference(GEOMETRY)


def test_loaders_travel_to_workers_with_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_picture(tmp_path / "a.png")
    put_jsonl(tmp_path, [{"id": "a", "image": "a.png"}])
    monkeypatch.chdir(tmp_path)
    suite = load_suite("manifest.jsonl")
    (sample,) = suite
    monkeypatch.chdir(tmp_path.parent)
    assert load_suite(suite.source).content_sha256 == suite.content_sha256
    assert pickle.loads(pickle.dumps(sample)).load_first_frame(GEOMETRY).shape == (16, 24, 3)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("image", "../secret.png", "leaves its folder"),
        ("image", "in/../../secret.png", "leaves its folder"),
        ("reference", "..\\secret.mp4", "leaves its folder"),
        ("image", "/etc/hostname", "is absolute"),
        ("video", "C:\\secret.png", "is absolute"),
        ("image", "\\\\server\\secret.png", "is absolute"),
        ("image", "link.png", "is a link out"),
        ("image", "linked/secret.png", "is a link out"),
        ("id", "../a", "starting with a letter or digit"),
        ("id", ".hidden", "starting with a letter or digit"),
        ("id", "a/b", "starting with a letter or digit"),
    ],
)
def test_no_row_reaches_out_of_the_folder(
    tmp_path: Path, column: str, value: str, reason: str
) -> None:
    put_picture(tmp_path / "secret.png")
    folder = tmp_path / "set"
    path = put_jsonl(
        folder, [{"id": "ok", "prompt": "x"}, {"id": "a", "prompt": "x", column: value}]
    )
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "linked").symlink_to(tmp_path)
    message = refusal(folder)
    assert message.startswith(f"{path}: line 2: ")
    assert reason in message
    assert repr(value) in message


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    put_picture(tmp_path / "in" / "a.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "in" / "a.png")
    (sample,) = load_suite(put_jsonl(tmp_path, [{"id": "a", "image": "link.png"}]))
    assert sample.load_first_frame(GEOMETRY).shape == (16, 24, 3)


@pytest.mark.parametrize("second", ["a", "A"])
def test_an_id_stands_once(tmp_path: Path, second: str) -> None:
    put_csv(tmp_path, [{"id": "a", "prompt": "x"}, {"id": second, "prompt": "y"}])
    assert f"line 3: id {second!r} stands on line 2 already" in refusal(tmp_path)


def test_the_first_five_mistakes_are_named(tmp_path: Path) -> None:
    lines = ['{"id": "ok", "prompt": "x"}'] + ['{"prompt": "x"}'] * 7
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    message = refusal(tmp_path)
    assert [f"line {line}: lacks 'id'" in message for line in range(1, 8)] == [False] + 5 * [
        True
    ] + [False]
    assert message.endswith("and 2 more")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "b", "prompt": }', "line 2: is not JSON"),
        ('["b"]', "line 2: is no JSON object"),
        ('{"id": "b", "prompt": ["x"]}', "line 2: 'prompt' is ['x']; accepted: text or a finite"),
        ('{"id": "b", "prompt": true}', "line 2: 'prompt' is True"),
        ('{"id": "b", "prompt": NaN}', "NaN is no JSON"),
        ('{"id": "b", "prompt": 1e999}', "'prompt' is inf"),
        ('{"id": "b", "prompt": "\\ud800"}', "'prompt' is '\\ud800'"),
        ('{"id": "b", "id": "c", "prompt": "x"}', "the name 'id' stands twice"),
        ('{"id": "b"}', "line 2: lacks 'prompt', 'image' and 'reference'"),
    ],
)
def test_a_malformed_json_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"id": "a", "prompt": "x"}\n' + line + "\n")
    assert reason in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("id,prompt\na,one, two\n", "line 2: has 3 cells, the header 2; quote a cell"),
        ('id,prompt\na,"one\nb,two\n', "line 2: is not CSV"),
        ('id,prompt\n\na,"two\nlines"\n../b,x\n', "line 5: sample id '../b'"),
        ("id,id\na,b\n", "the column 'id' twice"),
        ("id,\na,b\n", "a column without a name"),
        ("id,prompt\n", "has no rows"),
        ("", "has no rows"),
        ("name,prompt\na,x\n", "has no column 'id'; it has name, prompt"),
        ("id,promt\na,x\n", "column 'promt' is unknown: did you mean 'prompt'?"),
        ("id,prompt,images\na,x,a.png\n", "did you mean 'image'?"),
    ],
)
def test_a_malformed_csv_is_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "manifest.csv").write_text(text)
    assert reason in refusal(tmp_path)


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("id,prompt\na,naïve\n", encoding="latin-1")
    assert "is not UTF-8" in refusal(tmp_path)


def test_two_manifests_are_one_too_many(tmp_path: Path) -> None:
    put_csv(tmp_path, [{"id": "a", "prompt": "x"}])
    put_jsonl(tmp_path, [{"id": "a", "prompt": "x"}])
    assert "manifest.jsonl and manifest.csv" in refusal(tmp_path)
    assert load_suite(tmp_path / "manifest.csv").name == tmp_path.name


def test_the_content_hash_follows_what_defines_the_samples(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "prompt": "x", "image": "a.png", "reference": "a.mp4", "video": "v.mp4"},
        {"id": "b", "prompt": "y", "image": "b.png", "reference": "", "video": ""},
    ]
    put_picture(tmp_path / "a.png", seed=1)
    put_video(tmp_path / "a.mp4", seed=2)

    def content(changed: Sequence[Mapping[str, object]] = rows) -> str:
        return load_suite(put_csv(tmp_path, changed)).content_sha256

    before = content()
    assert content() == before
    assert content([{**rows[0], "video": "other.mp4"}, rows[1]]) == before
    (tmp_path / "renamed.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert content([{**rows[0], "image": "renamed.png"}, rows[1]]) == before
    hashes = {
        before,
        content([{**rows[0], "prompt": "other"}, rows[1]]),
        content([{**rows[0], "category": "c"}, {**rows[1], "category": ""}]),
        content(rows[::-1]),
        content(rows[:1]),
    }
    put_picture(tmp_path / "b.png", seed=5)
    hashes.add(content())
    put_picture(tmp_path / "a.png", seed=6)
    hashes.add(content())
    put_video(tmp_path / "a.mp4", seed=7)
    hashes.add(content())
    assert len(hashes) == 8


def test_keys_follow_what_pictures_and_clips_are_made_from(tmp_path: Path) -> None:
    put_picture(tmp_path / "a.png", seed=1)
    put_picture(tmp_path / "sub" / "same.png", seed=1)
    put_picture(tmp_path / "b.png", seed=2)
    put_video(tmp_path / "a.mp4", seed=1)
    put_video(tmp_path / "b.mp4", seed=2)
    files = {
        "one": {"image": "a.png"},
        "same": {"image": "sub/same.png"},
        "other": {"image": "b.png"},
        "gone": {"image": "gone.png"},
        "clip": {"reference": "a.mp4"},
        "clip-b": {"reference": "b.mp4"},
        "clip-gone": {"reference": "gone.mp4"},
        "both": {"image": "a.png", "reference": "a.mp4"},
        "text": {},
    }
    rows = [{"id": name, "prompt": "x", **cells} for name, cells in files.items()]
    of = {sample.id: sample for sample in load_suite(put_jsonl(tmp_path, rows))}
    pictures = {name: sample.picture_key for name, sample in of.items()}
    assert pictures["one"] == pictures["same"] == pictures["both"]
    assert pictures["text"] == of["one"].reference_key == ""
    shown = [pictures[n] for n in ("one", "other", "gone", "clip", "clip-b", "clip-gone")]
    assert "" not in shown
    assert len(set(shown)) == 6
    assert of["clip"].reference_key == of["both"].reference_key
    assert len({of[n].reference_key for n in ("clip", "clip-b", "clip-gone")}) == 3
    # A picture that arrives, or is drawn anew, has another key; a prompt changes none.
    put_picture(tmp_path / "gone.png", seed=1)
    put_picture(tmp_path / "b.png", seed=3)
    changed = {
        s.id: s for s in load_suite(put_jsonl(tmp_path, [r | {"prompt": "y"} for r in rows]))
    }
    assert changed["gone"].picture_key == pictures["one"]
    assert changed["other"].picture_key not in pictures.values()
    assert changed["clip"].reference_key == of["clip"].reference_key


def test_keys_hold_no_paths(tmp_path: Path) -> None:
    keys = []
    for place in ("here", "there"):
        put_picture(tmp_path / place / f"{place}.png", seed=1)
        row = {"id": "a", "image": f"{place}.png"}
        keys += [sample.picture_key for sample in load_suite(put_jsonl(tmp_path / place, [row]))]
    assert keys[0] == keys[1]


def test_a_reference_is_hashed_at_both_ends(tmp_path: Path) -> None:
    put_jsonl(tmp_path, [{"id": "a", "reference": "a.mp4"}])
    content = bytearray(5 * 2**20)
    hashes = []
    for place in (None, 10, 2**20 - 1, -1, -(2**20)):
        if place is not None:
            content[place] ^= 1
        (tmp_path / "a.mp4").write_bytes(content)
        hashes.append(load_suite(tmp_path).content_sha256)
    assert len(set(hashes)) == 5


def test_a_suite_is_reached_by_name_path_or_file(tmp_path: Path) -> None:
    put_jsonl(tmp_path / "set", [{"id": "a", "prompt": "x"}], name="night.jsonl")
    assert load_suite(tmp_path / "set" / "night.jsonl").name == "night"
    (tmp_path / "mine.py").write_text(
        "from i2vbench.sample import Sample, Suite\n"
        "def load():\n"
        "    return Suite(name='mine', version='1', samples=[Sample(id='a')], content_sha256='0')\n"
        "def broken():\n    return 3\n"
    )
    suite = load_suite(f"{tmp_path}/mine.py:load")
    assert (suite.name, suite.source) == ("mine", f"{tmp_path}/mine.py:load")
    with pytest.raises(UserError, match=r"gave 3, not an i2vbench\.sample\.Suite"):
        load_suite(f"{tmp_path}/mine.py:broken")
    with pytest.raises(UserError, match="did you mean 'playground'"):
        load_suite("playgrund")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"accepted: \.jsonl, \.csv, \.tsv"):
        load_suite(tmp_path / "notes.txt")


def test_loading_a_suite_imports_no_torch(tmp_path: Path) -> None:
    put_jsonl(tmp_path, [{"id": "a", "prompt": "x"}])
    code = (
        "import sys; from i2vbench.suites import load_suite; load_suite(sys.argv[1]);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_videos_of_a_bare_folder_are_named_after_the_files(tmp_path: Path) -> None:
    for name in ("b.mp4", "My clip.mp4", "c.WEBM", "._b.mp4", "notes.txt"):
        (tmp_path / name).touch()
    suite, videos = videos_of(tmp_path)
    assert {sample_id: [path.name for path in paths] for sample_id, paths in videos.items()} == {
        "My-clip": ["My clip.mp4"],
        "b": ["b.mp4"],
        "c": ["c.WEBM"],
    }
    assert [sample.id for sample in suite] == list(videos)
    assert {sample.prompt for sample in suite} == {""}


def test_what_a_folder_of_videos_holds_besides_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.mp4", "b.hevc", "night/c.mp4", "night/deep/d.mp4", "a.json", ".DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(videos_of(tmp_path)[1]) == ["a"]
    (line,) = caplog.messages
    assert line == (
        f"{tmp_path}: 3 of 4 files are left out: b.hevc, night/ (a subfolder with 2 files)"
    )


def test_samples_may_have_uneven_numbers_of_takes(tmp_path: Path) -> None:
    rows = [{"id": i, "prompt": i, "video": f"{i}{k}.mp4"} for i, k in ("a0", "a1", "b0")]
    _, videos = videos_of(put_csv(tmp_path, rows))
    assert {sample_id: len(paths) for sample_id, paths in videos.items()} == {"a": 2, "b": 1}


def test_a_manifest_may_be_one_json_array(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web page", "icons": []}')
    with pytest.raises(UserError, match=r"neither prompts\.csv nor a manifest"):
        load_suite(tmp_path)
    (tmp_path / "manifest.json").write_text('\ufeff [{"id": "a", "prompt": "x"}]')
    assert [sample.id for sample in load_suite(tmp_path)] == ["a"]


def test_videos_of_a_manifest_come_with_their_takes(tmp_path: Path) -> None:
    put_video(tmp_path / "v" / "a0.mp4")
    put_picture(tmp_path / "a.png")
    rows = [
        {"id": "a", "prompt": "x", "image": "a.png", "video": "v/a0.mp4"},
        {"id": "b", "prompt": "y", "image": "", "video": "v/b.mp4"},
        {"id": "a", "prompt": "x", "image": "a.png", "video": "v/a1.mp4"},
    ]
    path = put_csv(tmp_path, rows)
    for target in (path, tmp_path):
        suite, videos = videos_of(target)
        assert [sample.id for sample in suite] == ["a", "b"]
        assert videos == {
            "a": [tmp_path / "v/a0.mp4", tmp_path / "v/a1.mp4"],
            "b": [tmp_path / "v/b.mp4"],
        }
        assert suite.samples[0].load_first_frame(GEOMETRY).shape == (16, 24, 3)


def test_takes_that_disagree_are_named(tmp_path: Path) -> None:
    rows = [{"id": "a", "prompt": p, "video": f"{p}.mp4"} for p in ("x", "y")]
    put_csv(tmp_path, rows)
    with pytest.raises(UserError, match="line 3: id 'a' stands on line 2 with another prompt"):
        videos_of(tmp_path)


def test_videos_of_two_models_for_the_same_prompts_are_one_suite(tmp_path: Path) -> None:
    suites = []
    for model in ("one", "two"):
        folder = tmp_path / model
        rows = [{"id": "a", "prompt": "x", "video": f"{model}.mp4"}]
        suites.append(videos_of(put_csv(folder, rows))[0])
    assert suites[0].name == suites[1].name
    assert suites[0].content_sha256 == suites[1].content_sha256
    other = [{"id": "a", "prompt": "z", "video": "one.mp4"}]
    assert videos_of(put_csv(tmp_path / "three", other))[0].name != suites[0].name


def test_a_folder_without_videos_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(
        UserError, match=r"has no videos; .*\.mp4, \.webm, .*manifest\.csv"
    ) as caught:
        videos_of(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="does not exist"):
        videos_of(tmp_path / "absent")
    with pytest.raises(UserError, match="is no manifest"):
        videos_of(tmp_path / "a.txt")


def test_a_manifest_of_videos_needs_the_column(tmp_path: Path) -> None:
    put_csv(tmp_path, [{"id": "a", "prompt": "x"}])
    with pytest.raises(UserError, match="has no column 'video'"):
        videos_of(tmp_path)
