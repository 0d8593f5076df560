"""What the hash of a user's code depends on, and what it does not."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import pytest

from i2vbench.metric import ClipMetric
from i2vbench.source_code import class_code_sha256, code_sha256
from i2vbench.user_file import load_user_file

FILES = {
    "adapter.py": """
import torch, direct
from package import by_name
from package.sub.deep import value
def generate():
    import in_function
try:
    import optional as other
except ImportError:
    pass
class Adapter: pass
""",
    "direct.py": "import circular\n",
    "circular.py": "import direct, adapter\n",
    "package/__init__.py": "from . import from_init\n",
    "package/from_init.py": "from .. import nothing_above\n",
    "package/by_name.py": "",
    "package/sub/__init__.py": "",
    "package/sub/deep.py": "from ..sibling import value\nfrom ..... import too_high\n",
    "package/sibling.py": "value = 1\n",
    "in_function.py": "",
    "optional.py": "",
    "unused.py": "",
    "package/unused.py": "",
    "notes.txt": "",
}
UNUSED = {"unused.py", "package/unused.py", "notes.txt"}


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "code" / "adapter.py"


@pytest.mark.parametrize("name", FILES)
def test_exactly_what_is_imported_counts(adapter: Path, name: str) -> None:
    before = code_sha256(adapter)
    path = adapter.parent / name
    path.write_text(FILES[name] + "# edited\n")
    assert (code_sha256(adapter) == before) == (name in UNUSED)
    path.write_text(FILES[name])
    assert code_sha256(adapter) == before
    if name != "adapter.py":
        path.unlink()
        assert (code_sha256(adapter) == before) == (name in UNUSED)


def test_an_edit_that_keeps_size_and_date_is_seen(adapter: Path) -> None:
    path = adapter.parent / "direct.py"
    before, state = code_sha256(adapter), path.stat()
    copy = path.with_name("copy")
    copy.write_text(FILES["direct.py"].replace("import", "IMPORT"))
    os.utime(copy, ns=(state.st_atime_ns, state.st_mtime_ns))
    copy.replace(path)
    assert code_sha256(adapter) != before


def test_a_moved_or_linked_folder_is_the_same_code(adapter: Path, tmp_path: Path) -> None:
    before = code_sha256(adapter)
    moved = tmp_path / "elsewhere" / "other name"
    shutil.copytree(adapter.parent, moved)
    assert code_sha256(moved / "adapter.py") == before
    (tmp_path / "link").symlink_to(moved)
    assert code_sha256(tmp_path / "link" / "adapter.py") == before


def test_two_files_that_swap_their_texts_are_other_code(adapter: Path) -> None:
    first, second = (adapter.parent / name for name in ("in_function.py", "package/sibling.py"))
    first.write_text("value = 2\n")
    before = code_sha256(adapter)
    first.write_text("value = 1\n")
    second.write_text("value = 2\n")
    assert code_sha256(adapter) != before


def test_a_link_to_a_module_elsewhere_counts(adapter: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared.py"
    shared.write_text("import optional")
    (adapter.parent / "direct.py").unlink()
    (adapter.parent / "direct.py").symlink_to(shared)
    before = code_sha256(adapter)
    shared.write_text("import optional, sys")
    assert code_sha256(adapter) != before


@pytest.mark.parametrize(
    "text",
    [
        b"def broken(:",
        b"\x00",
        b"\xff\xfe",
        b"-" * 200_000 + b"1",
        b"(" * 5000,
        b"# -*- coding: none -*-\n",
        b"",
    ],
    ids=("syntax", "NUL", "bytes", "deep", "brackets", "coding", "empty"),
)
def test_what_cannot_be_parsed_has_the_hash_of_its_bytes(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "adapter.py"
    file.write_bytes(text)
    before = code_sha256(file)
    file.write_bytes(text + b" ")
    assert code_sha256(file) != before


def test_a_file_with_warnings_is_read_in_silence(tmp_path: Path) -> None:
    (tmp_path / "adapter.py").write_text("import helper\nx = '\\d'\nx is 3\n")
    (tmp_path / "helper.py").write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = code_sha256(tmp_path / "adapter.py")
        (tmp_path / "helper.py").write_text("# edited")
        assert code_sha256(tmp_path / "adapter.py") != before


def test_classes_of_this_project_and_without_a_file_have_none() -> None:
    made: dict[str, object] = {"__name__": "typed_in"}
    exec("class Typed: pass", made)
    typed = made["Typed"]
    assert isinstance(typed, type)
    for kind in (ClipMetric, Fraction, int, typed):
        assert class_code_sha256(kind) == ""


def test_a_class_has_the_hash_of_what_was_loaded(adapter: Path) -> None:
    """An edit during a run changes what the next process executes, not what this one does."""
    adapter.write_text("class Adapter: pass")
    before = code_sha256(adapter)
    kind = load_user_file("model", adapter, "Adapter")
    assert class_code_sha256(kind) == before
    adapter.write_text("class Adapter: x = 1")
    assert class_code_sha256(kind) == before
    assert class_code_sha256(load_user_file("model", adapter, "Adapter")) == code_sha256(adapter)
    assert class_code_sha256(load_user_file("model", adapter, "Adapter")) != before


def test_a_class_of_an_importable_file_has_its_hash(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter.with_name("plain_class.py").write_text("import unused\nclass Plain: pass")
    monkeypatch.syspath_prepend(adapter.parent)
    import plain_class

    before = class_code_sha256(plain_class.Plain)
    assert before == code_sha256(adapter.with_name("plain_class.py"))
    adapter.with_name("unused.py").write_text("# edited")
    assert class_code_sha256(plain_class.Plain) not in ("", before)
    del sys.modules["plain_class"]
