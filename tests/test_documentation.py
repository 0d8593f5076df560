"""README and docs do what they say: their Python blocks, their commands, and all doctests run.

What a reader has to bring (a run, videos, pictures) is made here under the names that the documents
use. Slow models give way to ``static``, and runs to a sample of theirs.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import i2vbench
from i2vbench.cli import cli
from i2vbench.rundir import RunDir

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = ("i2vbench", "metrics", "models", "leaderboards")

# What cannot run here, and why; these commands are parsed: their options must exist.
NOT_RUN = {
    r"^i2vbench train ": "takes hours",
    r"^i2vbench ablate ": "trains networks",
    r"^i2vbench weights fetch ": "downloads",
    r" checkpoint=": "needs a training's checkpoint or the hub",
    r"(ucf101|vbench-i2v):": "needs a data set that is not bundled",
    r"^i2vbench import-names ": "needs videos named by their prompts",
    r"^i2vbench profile ": "measures for minutes",
}
# What stands for something else in the documents, as a regular expression.
PLACEHOLDERS = {
    r"explain RUN fvd\b": "explain RUN fid",
    r"\bRUN\b": "my-run",
    r"\bMETRIC\b": "lpips_first_frame",
    r"\b(SAMPLE|scene-003)\b": "scene-002",
    r"show-protocol NAME\b": "show-protocol embedded",
    r"(-m|--model) consisti2v\b": r"\1 static",
    r"list models\|metrics\|suites\|protocols": "list models && i2vbench list metrics && "
    "i2vbench list suites && i2vbench list protocols",
}
# Behind a command, so that it takes a second and not minutes.
SHORTER = {
    "run": ["--limit", "1", "--no-baselines", "--metrics", "temporal_flickering", "--quiet"],
    # Without real clips, no network of a reference metric is run.
    "check": ["--suite", "pictures/"],
    "score": ["--metrics", "lpips_first_frame", "--quiet"],
}
# Blocks run as they are printed, but on fewer samples, and with FID where they say FVD: I3D takes
# seconds a clip.
SMALLER = {
    "limit=8": "limit=3",
    '"fvd"': '"fid"',
}
# `my_pipeline` of README is what the reader has.
PIPELINE = """

def my_pipeline(first_frame, prompt):
    import numpy as np
    from PIL import Image

    picture = Image.fromarray(first_frame).resize((256, 256))
    return np.repeat(np.asarray(picture)[None], 16, axis=0)
"""


def python_blocks(document: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", document.read_text("utf-8"), re.M | re.S)


def commands(document: Path) -> list[str]:
    """The ``i2vbench`` command lines of all blocks and of the text."""
    text = document.read_text("utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S)
    lines = [part for block in blocks for line in block.splitlines() for part in line.split("&&")]
    lines += re.findall(r"`(i2vbench [^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
    # A line of a block may end in a comment.
    words = [shlex.split(line, comments=True) for line in lines if line.strip()[:9] == "i2vbench "]
    return [shlex.join(each) for each in words]


def filled(command: str) -> list[list[str]]:
    """The arguments of ``command``, names of its document replaced; several for alternatives."""
    line = " ".join(shlex.split(command))
    for pattern, value in PLACEHOLDERS.items():
        line = re.sub(pattern, value, line)
    return [shlex.split(part)[1:] for part in line.split("&&")]


COMMANDS = [
    pytest.param(command, id=f"{document.name}: {command}")
    for document in DOCUMENTS
    for command in dict.fromkeys(commands(document))
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with all that the documents take for granted."""
    folder = tmp_path_factory.mktemp("reader")
    with contextlib.chdir(folder):
        Path("printed.txt").write_text(_run_blocks(), encoding="utf-8")
        run = RunDir.open(next(Path("runs").glob("*/*/run.json")).parent)
        i2vbench.score(run, metrics=["fid", "lpips_first_frame"])
        # A copy: a later `run --limit 1` makes the run itself one of a single clip.
        shutil.copytree(run.path, "my-run")
        for name in ("videos", "sampled", "pictures", "DIR", "docs"):
            Path(name).mkdir()
        videos = sorted(run.path.glob("videos/*.mp4"))
        for video in videos[:2]:
            shutil.copy(video, "videos")
        Path("manifest.csv").write_text(
            f"id,prompt,video\na,a scene,videos/{videos[0].name}\n", encoding="utf-8"
        )
        shutil.copy(
            next((ROOT / "i2vbench/suites/playground/photos").glob("*.jpg")), "pictures/a.jpg"
        )
        Path("pictures/prompts.csv").write_text("file,prompt\na.jpg,a photograph\n")
        Path("recipe.yaml").write_text("{}\n")
        Path("clips.jsonl").write_text("")
        shutil.copytree(ROOT / "docs" / "results", "docs/results")
        yield folder


def _run_blocks() -> str:
    """Runs every Python block, or writes it where its first line names a file; what they print."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for document in DOCUMENTS:
            for block in python_blocks(document):
                for printed_as, smaller in SMALLER.items():
                    block = block.replace(printed_as, smaller)
                name = re.match(r"# (\w+\.py)\n", block)
                if name:
                    Path(name[1]).write_text(block + PIPELINE, encoding="utf-8")
                else:
                    exec(compile(block, str(document), "exec"), {"__name__": "__main__"})
    return printed.getvalue()


def test_python_blocks_run(workspace: Path) -> None:
    assert Path(workspace, "my_model.py").is_file()
    printed = Path(workspace, "printed.txt").read_text(encoding="utf-8")
    assert printed.startswith("# Leaderboard")
    assert "FID(efficientnet-lite0) ↓" in printed
    assert "Dynamic degree(dis)" in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run_or_have_their_options(workspace: Path, command: str) -> None:
    line = " ".join(shlex.split(command))
    with contextlib.chdir(workspace):
        for arguments in filled(command):
            if any(re.search(pattern, line) for pattern in NOT_RUN):
                _parse(arguments)
                continue
            done = CliRunner().invoke(cli, [*arguments, *SHORTER.get(arguments[0], [])])
            assert done.exit_code == 0, f"{arguments}: {done.output}{done.exception!r}"


def _parse(arguments: list[str]) -> None:
    """Click reads the line: the command, its options and the types of their values exist."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        name, found, arguments = command.resolve_command(context, arguments)
        assert name
        assert found
        command, context = found, click.Context(found, parent=context, info_name=name)
    command.make_context(context.info_name, arguments, parent=context.parent)


def test_every_reason_not_to_run_is_needed() -> None:
    lines = [" ".join(shlex.split(command.values[0])) for command in COMMANDS]
    for pattern in NOT_RUN:
        assert any(re.search(pattern, line) for line in lines), pattern
    assert len(lines) > 20


@pytest.mark.parametrize("folder", FOLDERS)
def test_doctests(folder: str) -> None:
    attempted = 0
    for file in sorted((ROOT / folder).rglob("*.py")):
        text = file.read_text("utf-8")
        if ">>> " not in text:
            continue
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts if folder == "i2vbench" else ("i2vbench", *parts))
        module = importlib.import_module(name.removesuffix(".__init__"))
        results = doctest.testmod(module)
        assert results.failed == 0, name
        attempted += results.attempted
    assert attempted > 5
