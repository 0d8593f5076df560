"""Files of the user: what they may import, when they are executed again, how they fail."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from i2vbench.errors import UserError
from i2vbench.user_file import load_user_file


@pytest.fixture(autouse=True)
def _modules_as_before() -> Iterator[None]:
    modules, finders = dict(sys.modules), list(sys.meta_path)
    yield
    for name in [name for name in sys.modules if name not in modules]:
        # Only what this test made: a library that was loaded meanwhile stays.
        spec = sys.modules[name].__spec__
        places = [spec.origin or "", *(spec.submodule_search_locations or [])] if spec else []
        if any("pytest-" in place for place in places):
            del sys.modules[name]
    sys.meta_path[:] = finders


def write(folder: Path, **files: str) -> Path:
    """Files ``a__b`` (a/b.py) and ``a_init`` (a/__init__.py) of these texts; returns adapter.py."""
    for name, text in files.items():
        is_init = name.endswith("_init")
        path = folder / f"{name.removesuffix('_init').replace('__', '/')}.py"
        path = path.with_suffix("") / "__init__.py" if is_init else path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder / "adapter.py"


def load(file: Path, attribute: str = "value") -> Any:
    return load_user_file("model", file, attribute)


def test_the_folder_is_importable_as_for_a_script_and_later_too(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        adapter="""
            import helper
            from package.inner import three
            from plain.module import four
            value = [helper.one, three, four]
            def later():
                import importlib
                from late import five
                return five, importlib.import_module("very_late").six
        """,
        helper="one = 1",
        package_init="",
        package__inner="from . import deeper\nthree = deeper.three",
        package__deeper="three = 3",
        plain__module="four = 4",
        late="five = 5",
        very_late="six = 6",
    )
    assert load(file) == [1, 3, 4]
    assert load(file, "later")() == (5, 6)


@pytest.mark.parametrize("when", ["before", "after"])
def test_helpers_of_one_name_stay_apart(tmp_path: Path, when: str) -> None:
    """Also where the one adapter imports its helper only after the other was loaded."""
    text = """
        if EARLY:
            import helper, kit.part
        def value():
            import helper, kit.part
            from kit.part import pickled
            return helper.name, kit.part.name, pickled(), helper.__name__
    """
    text = textwrap.dedent(text).replace("EARLY", str(when == "before"))
    functions = []
    for name in ("a", "b", "c"):
        part = "name = NAME\ndef pickled():\n    from .other import name\n    return name\n"
        functions.append(
            load(
                write(
                    tmp_path / name,
                    adapter=text,
                    helper=f"name = {name!r}",
                    kit__part=part.replace("NAME", repr(name)),
                    kit__other=f"name = {name!r}",
                    kit_init="",
                )
            )
        )
    for _ in range(2):
        assert [value() for value in functions] == [(n, n, n, "helper") for n in "abc"]


def test_a_module_of_one_folder_is_executed_once_for_all_its_files(tmp_path: Path) -> None:
    write(tmp_path, adapter="from shared import value", other="import shared as value", shared="")
    write(tmp_path, shared="class value: pass")
    kind = load(tmp_path / "adapter.py")
    assert load(tmp_path / "other.py").value is kind


@pytest.mark.parametrize("name", ["torch", "numpy", "random", "json", "PIL", "i2vbench"])
def test_a_file_of_a_package_s_name_does_not_hide_it(tmp_path: Path, name: str) -> None:
    write(tmp_path, **{name: "raise RuntimeError('not this one')"})
    file = write(tmp_path, adapter=f"import {name} as value\ndef later():\n    import {name}")
    module = load(file)
    assert tmp_path not in Path(module.__file__).parents
    load(file, "later")()


def test_a_file_is_hidden_from_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder's own modules see the file, whoever else imports the name sees the package."""
    installed = tmp_path / "site"
    write(installed, library="def lazy():\n    import needed\n    return needed.origin")
    write(installed, needed="origin = 'installed'")
    monkeypatch.syspath_prepend(installed)
    file = write(
        tmp_path / "mine",
        adapter="""
            import library
            import needed
            value = needed.origin
            def both():
                import needed
                return needed.origin, library.lazy()
        """,
        needed="origin = 'folder'",
    )
    assert load(file) == "folder"
    assert load(file, "both")() == ("folder", "installed")
    assert load(file, "library").lazy() == "installed"
    import needed

    assert needed.origin == "installed"


@pytest.mark.parametrize(("inner", "expected"), [("code", "folder"), ("data", "installed")])
def test_a_folder_without_init_hides_a_package_if_it_holds_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str, expected: str
) -> None:
    write(tmp_path / "site", stuff_init="", stuff__net="origin = 'installed'")
    monkeypatch.syspath_prepend(tmp_path / "site")
    mine = tmp_path / "mine"
    file = write(mine, adapter="from stuff.net import origin as value")
    if inner == "code":
        write(mine, stuff__net="origin = 'folder'")
    else:
        (mine / "stuff").mkdir()
        (mine / "stuff" / "values.json").touch()
    assert load(file) == expected


@pytest.mark.parametrize("edited", ["adapter", "helper", "package__inner"])
def test_an_edited_file_is_executed_again_and_an_equal_one_is_not(
    tmp_path: Path, edited: str
) -> None:
    """Also within the second, and with an equal size, where bytecode on disk counts as current."""
    files = {
        "adapter": "import helper\nfrom package.inner import x\nvalue = [0, helper.x, x]",
        "helper": "x = 0",
        "package__inner": "x = 0",
    }
    file = write(tmp_path, **files, package_init="")
    before = load(file)
    assert load(file) is before
    for digit in "123":
        write(tmp_path, **{edited: files[edited].replace("0", digit)})
        assert sorted(load(file)) == [0, 0, int(digit)]
    assert not list(tmp_path.rglob("*.pyc"))


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("\nimport sys\nsys.exit('no GPU')", 3, "SystemExit: no GPU"),
        ("\nraise KeyError('a')", 2, "KeyError: 'a'"),
        ("import helper", 2, "ZeroDivisionError"),
        ("x = (\n", 1, "SyntaxError: '(' was never closed"),
        ("import no_such_module_here", 1, "No module named 'no_such_module_here'"),
        ("\nraise SyntaxError('of mine')", 2, "SyntaxError: of mine"),
        ("\n\nimport json\njson.loads('{')", 4, "JSONDecodeError"),
        ("from . import helper", 1, "ImportError"),
        ("import hel\x00per", 0, "null bytes"),
    ],
)
def test_what_fails_is_one_line_with_its_place(
    tmp_path: Path, text: str, line: int, expected: str
) -> None:
    file = write(tmp_path, adapter=text, helper="\n1 / 0")
    with pytest.raises(UserError) as caught:
        load(file)
    message = str(caught.value)
    assert expected in message
    assert str(file) in message
    assert "\n" not in message
    if line:
        assert f"line {line})" in message
    # What failed is tried afresh.
    file.write_text("value = 3")
    assert load(file) == 3


def test_the_nearest_name_is_said(tmp_path: Path) -> None:
    file = write(tmp_path, adapter="class MyModel: pass\n_hidden = 1")
    with pytest.raises(UserError, match="did you mean 'MyModel'") as caught:
        load(file, "MyModle")
    assert "_hidden" not in str(caught.value)
    with pytest.raises(UserError, match="does not exist"):
        load(tmp_path / "none.py")


def test_builtins_are_those_of_everyone(tmp_path: Path) -> None:
    file = write(tmp_path, adapter="import numpy\nvalue = (numpy, print, __import__('math').pi)")
    assert load(file)[:2] == (numpy, print)
