from __future__ import annotations

from pathlib import Path

import pytest

from i2vbench.suites.root import Root

COMPOSED, DECOMPOSED = "caf\u00e9.png", "cafe\u0301.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    for name in ("cat.png", "Dog.png", "sub/Cat.png", DECOMPOSED, "a\\b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (tmp_path / "secret.png").touch()
    (folder / "out").symlink_to(tmp_path)
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "round").symlink_to(folder / "round")
    return folder


@pytest.mark.parametrize(
    "value",
    [
        "../secret.png", "sub/../../secret.png", "..\\secret.png", "sub\\..\\..\\secret.png", "..",
        ".. /secret.png", ".../secret.png", "sub/. ./secret.png", "..\\ /x", "/etc/hostname",
        " /etc/hostname", "\\\\server\\x.png", "C:\\x.png", "c:x.png", " C:x.png", "//?/C:/x.png",
        "out/secret.png", "out\\secret.png", "out/./secret.png", "out.png", "OUT/secret.png",
        "out/SECRET.png", "OUT.png", "a\0.png", "x" * 5000, "round/x.png" + "/y" * 3000,
    ],
)  # fmt: skip
def test_no_value_leads_out(folder: Path, value: str) -> None:
    with pytest.raises(
        ValueError, match=r"accepted are paths|no file name|does not exist"
    ) as caught:
        Root(folder).file(value)
    assert "secret" not in str(caught.value).replace(repr(value), "")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("cat.png", "cat.png"),
        ("./cat.png", "cat.png"),
        ("sub/Cat.png", "sub/Cat.png"),
        ("sub\\Cat.png", "sub/Cat.png"),
        (".\\sub\\Cat.png", "sub/Cat.png"),
        ("a\\b.png", "a\\b.png"),
        (DECOMPOSED, DECOMPOSED),
        (COMPOSED, DECOMPOSED),
        ("absent.png", "absent.png"),
        ("..cat.png", "..cat.png"),
        ("none/absent.png", "none/absent.png"),
    ],
)
def test_what_is_certain_is_found(folder: Path, value: str, found: str) -> None:
    assert Root(folder).file(value) == folder / found


@pytest.mark.parametrize(
    ("value", "there"),
    [
        ("Cat.png", "cat.png"),
        ("dog.PNG", "Dog.png"),
        ("SUB/cat.png", "sub/Cat.png"),
        ("sub\\cat.png", "sub/Cat.png"),
        (COMPOSED.upper(), DECOMPOSED),
    ],
)
def test_other_capitals_are_named(folder: Path, value: str, there: str) -> None:
    if (folder / "CAT.PNG").exists():
        pytest.skip("this file system knows no capitals")
    with pytest.raises(ValueError, match=r"; write that$") as caught:
        Root(folder).file(value)
    assert str(caught.value).startswith(f"{value!r} does not exist, ")
    assert f"{there!r} does; write that" in str(caught.value)


def test_of_two_files_that_look_alike_none_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "CAT.png").touch()
    (tmp_path / "cat.png").touch()
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system knows no capitals")
    assert Root(tmp_path).file("Cat.png") == tmp_path / "Cat.png"
