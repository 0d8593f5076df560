"""The one rule of the house (arrows point to the core), packaging, and start-up."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from i2vbench.registry import EXTRACTORS, METRICS, MODELS, PROTOCOLS, SUITES

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("metrics", "models", "leaderboards")


def imported_modules(file: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("folder", ["i2vbench", *PARTS])
def test_arrows_point_to_the_core(folder):
    others = [part for part in PARTS if part != folder]
    for file in sorted((ROOT / folder).rglob("*.py")):
        for name in imported_modules(file):
            for part in others:
                within = name == f"i2vbench.{part}" or name.startswith(f"i2vbench.{part}.")
                assert not within, f"{file.relative_to(ROOT)} imports {name}"


def test_every_package_is_listed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {"i2vbench"}
    for folder in ("i2vbench", *PARTS):
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            found.add(".".join(parts if parts[0] == "i2vbench" else ("i2vbench", *parts)))
    assert found == set(settings["packages"])


def test_every_data_file_is_in_the_wheel():
    """A file that no pattern of its package matches is silently missing from the wheel."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    data, folders = settings["package-data"], {}
    for package in settings["packages"]:
        parts = package.split(".")
        at_top = parts[1:2] and parts[1] in PARTS
        folders[ROOT.joinpath(*parts[1:] if at_top else parts)] = package
    for folder in ("i2vbench", *PARTS):
        for file in (ROOT / folder).rglob("*"):
            if not file.is_file() or file.suffix in (".py", ".pyc"):
                continue
            owner = next(parent for parent in file.parents if parent in folders)
            globs = [*data["*"], *data.get(folders[owner], [])]
            matched = {found for glob in globs for found in owner.glob(glob)}
            assert file in matched, f"{file.relative_to(ROOT)} matches none of {globs}"


@pytest.mark.parametrize("registry", [MODELS, METRICS, EXTRACTORS, SUITES, PROTOCOLS])
def test_every_name_loads(registry):
    for entry in registry.entries():
        if entry.source == "built in":
            assert registry.load(entry.name) is not None


@pytest.mark.parametrize("name", [entry.name for entry in METRICS.entries()])
def test_every_metric_says_what_it_is(name):
    metric = METRICS.load(name)
    assert metric.name == name
    assert metric.title
    assert metric.version
    assert metric.level in ("clip", "set")
    assert metric.higher_is_better in (True, False, None)
    columns = {need for need in metric.needs if need.startswith("extra.")}
    assert metric.needs - columns <= {"prompt", "first_frame", "reference"}
    assert {*metric.extractors} <= {entry.name for entry in EXTRACTORS.entries()}
    assert metric.__doc__


@pytest.mark.parametrize("arguments", [["--help"], ["list", "metrics"], ["list", "extractors"]])
def test_the_first_words_import_nothing_heavy(arguments):
    code = (
        "import sys; from i2vbench.cli import cli; cli.main(sys.argv[1:], standalone_mode=False);"
        "print([m for m in ('torch','pandas','cv2','diffusers','numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_files_have_one_subject():
    for folder in ("i2vbench", *PARTS):
        for file in (ROOT / folder).rglob("*.py"):
            assert file.name != "utils.py"
            assert len(file.read_text(encoding="utf-8").splitlines()) <= 500, file


def test_no_pickle():
    for folder in ("i2vbench", *PARTS):
        for file in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                    keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                    assert keywords.get("weights_only") == "True", file
