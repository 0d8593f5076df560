from __future__ import annotations

import importlib
import logging
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from i2vbench import registry as registry_module
from i2vbench.errors import UserError, did_you_mean
from i2vbench.registry import EXTRACTORS, METRICS, MODELS, PROTOCOLS, SUITES, Registry

REGISTRIES = (MODELS, METRICS, EXTRACTORS, SUITES, PROTOCOLS)


@pytest.fixture
def small() -> Registry:
    return Registry("thing", {"path": ("pathlib:Path", "a path"), "pure": ("pathlib:PurePath", "")})


def install(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    made = [EntryPoint(name, value, "i2vbench.things") for name, value in points]
    monkeypatch.setattr(registry_module, "entry_points", lambda group: made)


@pytest.mark.parametrize(
    ("registry", "name"),
    [(registry, entry.name) for registry in REGISTRIES for entry in registry.entries()],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_every_name_leads_somewhere(registry: Registry, name: str) -> None:
    assert registry.load(name) is not None


def test_names_are_loaded_on_use(small: Registry) -> None:
    assert small.load("path") is Path


def test_an_unknown_name_gets_the_nearest(small: Registry) -> None:
    with pytest.raises(UserError, match=r"thing 'paht' is unknown: did you mean 'path'\?"):
        small.load("paht")


def test_installed_packages_add_names(small: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ("joined", "os.path:join"))
    assert [entry.name for entry in small.entries()] == ["joined", "path", "pure"]
    assert small.load("joined") is importlib.import_module("os.path").join


def test_an_installed_name_never_replaces_a_built_in_one(
    small: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, ("path", "os.path:join"))
    with caplog.at_level(logging.WARNING):
        assert [entry.source for entry in small.entries()] == ["built in", "built in"]
        assert small.load("path") is Path
    assert "hides behind the built-in one" in caplog.text


@pytest.mark.parametrize("target", ["no_such_module:x", "os.path:no_such_attribute"])
def test_a_broken_package_is_a_user_error_of_its_own_name(
    small: Registry, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    install(monkeypatch, ("broken", target))
    assert "broken" in [entry.name for entry in small.entries()]
    with pytest.raises(UserError, match=f"thing 'broken' .{target}. does not load"):
        small.load("broken")
    assert small.load("path") is Path


def test_a_file_of_the_user(small: Registry, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Mine:\n"
        "    value: int = 3\n"
    )
    assert small.load(f"{file}:Mine")().value == 3
    with pytest.raises(UserError, match=r"has no 'Mien': did you mean 'Mine'\?"):
        small.load(f"{file}:Mien")
    with pytest.raises(UserError, match=r"absent\.py does not exist; give path/to/file\.py:Name"):
        small.load(f"{tmp_path}/absent.py:Mine")


def test_the_nearest_name_comes_first() -> None:
    assert did_you_mean("fdv", ["fid", "fvd"]).startswith("did you mean 'fvd'?")
    assert did_you_mean("zzz", ["fid", "fvd"]) == "accepted: fid, fvd"
    assert did_you_mean("zzz", []) == "accepted: (none)"
