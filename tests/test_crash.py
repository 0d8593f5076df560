"""A command that dies anywhere, or a file that is damaged afterwards: repeating it mends all."""

import errno
import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from i2vbench import registry
from i2vbench.cli import cli, main
from i2vbench.files import is_temporary
from tests import test_scoring
from tests.conftest import picture_of
from tests.test_cli import ADAPTERS, files_of

METRICS = "temporal_flickering,redness"


class KilledError(BaseException):
    """The process dies here."""


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    """A metric of stored features, without a network; no look at what else is installed."""
    monkeypatch.setattr(registry.Registry, "_installed", lambda self: iter(()))
    for kind, name, target in (
        (registry.METRICS, "redness", "Redness"),
        (registry.EXTRACTORS, "mean-colour", "MeanColour"),
    ):
        entry = {name: (f"{test_scoring.__name__}:{target}", "")}
        monkeypatch.setattr(kind, "_builtin", {**kind._builtin, **entry})


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two pictures, a suite."""
    from PIL import Image

    folder = tmp_path / "two"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(picture_of(number)).save(folder / f"p{number}.png")
    (folder / "prompts.csv").write_text("file,prompt\np0.png,one\np1.png,two\n")
    return folder


def arguments(folder: Path, output_dir: Path) -> list[str]:
    values = ["run", "-m", f"{ADAPTERS}:Drift", "-s", folder, "-o", output_dir, "--quiet"]
    values += ["--metrics", METRICS, "--no-baselines", "--batch-size", "1", "--device", "cpu"]
    return [str(value) for value in values]


def run(folder: Path, output_dir: Path) -> Result:
    return CliRunner().invoke(cli, arguments(folder, output_dir))


class Trouble:
    """Counts syncs and renames, and makes trouble at one of them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.counts = {"sync": 0, "rename": 0}
        self.at: tuple[str, int] | None = None
        self.act: Callable[[int | None], None] = lambda descriptor: None
        sync, rename, unlink = os.fsync, Path.replace, Path.unlink
        self.is_dead = False

        def synced(descriptor: int) -> None:
            self._meet("sync", descriptor)
            sync(descriptor)

        def renamed(path: Path, target: Path) -> Path:
            self._meet("rename", None)
            return rename(path, target)

        def unlinked(path: Path, **keywords: Any) -> None:
            # A process that was killed tidies nothing up.
            if not self.is_dead:
                unlink(path, **keywords)

        patch.setattr(os, "fsync", synced)
        patch.setattr(Path, "replace", renamed)
        patch.setattr(Path, "unlink", unlinked)

    def _meet(self, kind: str, descriptor: int | None) -> None:
        self.counts[kind] += 1
        if self.at == (kind, self.counts[kind]):
            self.act(descriptor)

    def die(self, descriptor: int | None) -> None:
        """Half of what was written is on the disk."""
        if descriptor is not None:
            os.ftruncate(descriptor, max(0, os.fstat(descriptor).st_size - 9))
        self.is_dead = True
        raise KilledError

    def die_whole(self, _: int | None) -> None:
        """All that was written is on the disk."""
        self.is_dead = True
        raise KilledError

    @staticmethod
    def full(descriptor: int | None) -> None:
        """The disk is full."""
        if descriptor is not None:
            os.ftruncate(descriptor, max(0, os.fstat(descriptor).st_size - 9))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def whole(folder, tmp_path) -> dict[str, bytes]:
    """The files of an unbroken run."""
    done = run(folder, tmp_path / "whole")
    assert done.exit_code == 0, done.output
    return files_of(tmp_path / "whole")


def places(folder: Path, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Every sync and rename of a run."""
    with pytest.MonkeyPatch.context() as patch:
        trouble = Trouble(patch)
        run(folder, tmp_path / "counted")
    for kind, count in trouble.counts.items():
        assert count >= 12
        yield from ((kind, number) for number in range(1, count + 1))


def check_equal(output_dir: Path, whole: dict[str, bytes], where: object) -> None:
    found = files_of(output_dir)
    assert found.keys() == whole.keys(), where
    assert [name for name in whole if whole[name] != found[name]] == [], where
    assert not [path for path in output_dir.rglob("*") if is_temporary(path)], where


@pytest.mark.parametrize("how", ["die", "die_whole"])
def test_killed_anywhere_and_repeated_leaves_the_files_of_an_unbroken_run(
    how, folder, whole, tmp_path
):
    for kind, number in places(folder, tmp_path):
        if (how, kind) == ("die_whole", "rename"):
            continue
        output_dir = tmp_path / f"{kind}{number}"
        with pytest.MonkeyPatch.context() as patch:
            trouble = Trouble(patch)
            trouble.at, trouble.act = (kind, number), getattr(trouble, how)
            with pytest.raises(KilledError):
                run(folder, output_dir)
        again = run(folder, output_dir)
        assert again.exit_code == 0, (kind, number, again.output)
        assert "All is done" not in again.output, (kind, number)
        check_equal(output_dir, whole, (kind, number))
        if number % 8 == 0:
            assert "All is done" in run(folder, output_dir).output


def test_a_full_disk_is_one_line_and_loses_nothing(folder, whole, tmp_path, monkeypatch, capsys):
    # Every place is tried by the kills above; here the message counts.
    for kind, number in itertools.islice(places(folder, tmp_path), 0, None, 3):
        output_dir = tmp_path / f"{kind}{number}"
        monkeypatch.setattr(sys, "argv", ["i2vbench", *arguments(folder, output_dir)])
        with pytest.MonkeyPatch.context() as patch:
            trouble = Trouble(patch)
            trouble.at, trouble.act = (kind, number), trouble.full
            with pytest.raises(SystemExit) as left:
                main()
        assert left.value.code == 2, (kind, number)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("Error: "), (kind, number)
        assert "no space left on device; make room and repeat the command to go on" in line
        assert str(output_dir) in line
        again = run(folder, output_dir)
        assert again.exit_code == 0, (kind, number, again.output)
        check_equal(output_dir, whole, (kind, number))


def flipped(path: Path, position: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * position)] ^= 1
    path.write_bytes(bytes(content))


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def digit(path: Path) -> None:
    """Another number that reads as well as the right one."""
    text = path.read_text()
    place = re.search(r'"value": ?0\.\d', text).end()
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])


def no_json(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"x" + b"".join(lines))


DAMAGES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "video": ("videos/p1-0.mp4", flipped, "p1-0.mp4 is not the file that was recorded; it is made"),
    "no video": ("videos/p1-0.mp4", Path.unlink, "p1-0.mp4 does not exist; it is made again"),
    "empty video": ("videos/p0-0.mp4", lambda p: p.write_bytes(b""), "p0-0.mp4 is not the file"),
    "take": ("takes.0.jsonl", no_json, "takes.0.jsonl, line 1 is no row of this file"),
    "half a take": ("takes.0.jsonl", torn, ""),
    "no takes": ("takes.0.jsonl", Path.unlink, ""),
    "results": ("results.json", flipped, "results.json is not the file that was recorded; it is"),
    "number": ("results.json", digit, "results.json is not the file that was recorded; it is"),
    "half": ("results.json", torn, "results.json is not the file that was recorded; it is"),
    "no results": ("results.json", Path.unlink, "results.json is missing; it is written again"),
    "record": ("run.json", lambda p: p.write_text(p.read_text()[1:]), "run.json is not JSON"),
    "no record": ("run.json", Path.unlink, "run.json is missing; it is written again"),
    "board": ("board.txt", Path.unlink, "a board is missing or not as it was drawn"),
    "another board": ("board.csv", flipped, "a board is missing or not as it"),
    "page": ("board.html", torn, "a board is missing or not as it was drawn; it is drawn again"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_noticed_named_and_mended(name, folder, whole, tmp_path, caplog):
    file, damage, words = DAMAGES[name]
    output_dir = tmp_path / "whole"
    (path,) = output_dir.glob(f"*/*/{file}")
    damage(path)
    again = run(folder, output_dir)
    assert again.exit_code == 0, again.output
    assert "All is done" not in again.output
    named = [record.getMessage() for record in caplog.records if words in record.getMessage()]
    assert len(named) == 1 or not words, caplog.text
    assert len({record.getMessage() for record in caplog.records}) == len(caplog.records)
    check_equal(output_dir, whole, name)
    caplog.clear()
    assert "All is done" in run(folder, output_dir).output
    assert not caplog.records


@pytest.mark.parametrize("damage", [flipped, torn, lambda path: path.write_bytes(b"")])
def test_a_damaged_feature_is_noticed_when_it_is_used(damage, folder, whole, tmp_path, caplog):
    output_dir = tmp_path / "whole"
    feature = next(output_dir.glob("*/*/features/*/*"))
    for rows in output_dir.glob("*/*/scores/redness*"):
        rows.unlink()
    damage(feature)
    again = run(folder, output_dir)
    assert again.exit_code == 0, again.output
    # Nothing asks for the rows as long as the results hold.
    assert "All is done" in again.output
    (results,) = output_dir.glob("*/*/results.json")
    results.unlink()
    assert run(folder, output_dir).exit_code == 0
    assert f"features {feature} are damaged; they are made again" in caplog.text
    check_equal(output_dir, whole, damage)


@pytest.mark.parametrize("damage", [torn, no_json, digit, Path.unlink])
def test_a_damaged_row_of_a_score_is_computed_again(damage, folder, whole, tmp_path, caplog):
    output_dir = tmp_path / "whole"
    (rows,) = output_dir.glob("*/*/scores/temporal*")
    damage(rows)
    (results,) = output_dir.glob("*/*/results.json")
    results.unlink()
    assert run(folder, output_dir).exit_code == 0
    if damage is no_json:
        assert f"{rows}, line 1 is no row of this file" in caplog.text
    if damage is digit:
        assert "1 of its rows are no rows of a score" in caplog.text
    check_equal(output_dir, whole, damage)


def test_a_killed_second_scoring_keeps_the_first_ones_scores(folder, whole, tmp_path):
    """Results and their recorded hash change together, whichever of them was written last."""

    def add(output_dir: Path) -> Result:
        (directory,) = output_dir.glob("*/*")
        more = ["score", str(directory), "--metrics", f"{ADAPTERS}:Brightness", "--quiet"]
        return CliRunner().invoke(cli, more)

    shutil.copytree(tmp_path / "whole", tmp_path / "unbroken")
    with pytest.MonkeyPatch.context() as patch:
        trouble = Trouble(patch)
        assert add(tmp_path / "unbroken").exit_code == 0
    (results,) = (tmp_path / "unbroken").glob("*/*/results.json")
    assert len(json.loads(results.read_text())["scores"]) == 3
    unbroken = files_of(tmp_path / "unbroken")
    for number in range(1, trouble.counts["sync"] + 1):
        output_dir = tmp_path / f"again{number}"
        shutil.copytree(tmp_path / "whole", output_dir)
        with pytest.MonkeyPatch.context() as patch:
            broken = Trouble(patch)
            broken.at, broken.act = ("sync", number), broken.die_whole
            with pytest.raises(KilledError):
                add(output_dir)
        assert add(output_dir).exit_code == 0
        check_equal(output_dir, unbroken, number)


@pytest.mark.parametrize("command", ["show", "leaderboard"])
def test_changed_results_are_told_where_they_are_read(command, whole, tmp_path, caplog):
    (directory,) = (tmp_path / "whole").glob("*/*")
    unchanged = CliRunner().invoke(cli, [command, str(directory)])
    assert "recorded" not in unchanged.output + caplog.text
    digit(directory / "results.json")
    changed = CliRunner().invoke(cli, [command, str(directory)])
    assert changed.exit_code == 0
    assert "results.json is not the file that was recorded" in changed.output + caplog.text
