"""The folder whose files a table may name."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from i2vbench.plain_text import short_repr

# Of any system: a table written on Windows is read on Linux.
_ABSOLUTE = re.compile(r"\s*(?:[/\\]|[A-Za-z]:)")
_SEPARATOR = re.compile(r"[/\\]")


class Root:
    """A folder whose files a table may name, and no others."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder of the table."""
        self.folder = folder
        self._real = os.path.realpath(folder)
        # Most files of a table share few folders; following links anew for each would take longer
        # than all the rest.
        self._inside: dict[str, bool] = {}
        self._names: dict[str, _Names] = {}

    def file(self, value: str) -> Path:
        r"""The path in the folder, if it stays there, links followed; it need not exist.

        A name is taken as it is spelt where such a file exists. Otherwise ``sub\cat.png`` is
        ``sub/cat.png``, and a name in another Unicode form (macOS writes ``é`` as two characters)
        is the one on disk.

        Raises:
            ValueError: the path is absolute, climbs out with '..', a link leads out, its name on
                disk is in other capitals, or no file can have the name.
        """
        accepted = f"accepted are paths inside {self.folder}"
        shown = short_repr(value)
        if _ABSOLUTE.match(value):
            raise ValueError(f"{shown} is absolute; {accepted}")
        # Windows drops dots and blanks at the end of a name: '.. ' climbs as '..' does.
        if "\x00" in value or any(
            part != "." and part.strip(" .") == "" != part for part in _SEPARATOR.split(value)
        ):
            raise ValueError(f"{shown} leaves its folder; {accepted}")
        try:
            path, other_capitals = self._on_disk(value)
            inside = self._in_folder(os.path.dirname(path))  # noqa: PTH120 (see _in_folder)
            if not inside or (path.is_symlink() and not self._holds(str(path))):
                raise ValueError(f"{shown} is a link out of its folder; {accepted}")
        except OSError as error:
            raise ValueError(f"{shown} is no file name: {error.strerror}") from error
        if other_capitals:
            # On macOS and Windows it would be read; one table must mean one thing everywhere.
            there = short_repr(path.relative_to(self.folder).as_posix())
            raise ValueError(f"{shown} does not exist, {there} does; write that")
        return path

    def _on_disk(self, value: str) -> tuple[Path, bool]:
        """The file that is meant, and whether its name is in other capitals there."""
        written = self.folder / value
        if os.path.lexists(written):
            return written, False
        found = self.folder
        other_capitals = False
        for part in _SEPARATOR.split(value):
            if part in ("", "."):
                continue
            if not os.path.lexists(found / part):
                # Nothing outside the folder is listed, not even for a message.
                names = self._listed(found) if self._in_folder(str(found)) else None
                match = names.match(part) if names else None
                if match is None:
                    return written, False
                other_capitals |= _composed(part) != _composed(match)
                part = match
            found = found / part
        return found, other_capitals

    def _listed(self, folder: Path) -> _Names:
        key = str(folder)
        if key not in self._names:
            self._names[key] = _Names(folder)
        return self._names[key]

    def _in_folder(self, folder: str) -> bool:
        # Texts, since Path.parent takes ten times as long as os.path.dirname.
        if folder not in self._inside:
            self._inside[folder] = self._holds(folder)
        return self._inside[folder]

    def _holds(self, path: str) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(self._real)


class _Names:
    """What a folder holds, by names without their Unicode form and capitals."""

    def __init__(self, folder: Path) -> None:
        self._alike: dict[str, list[str]] = {}
        if folder.is_dir():
            for name in sorted(path.name for path in folder.iterdir()):
                self._alike.setdefault(_plain(name), []).append(name)

    def match(self, part: str) -> str | None:
        """The one name that differs least; None where there is none, or no single one."""
        alike = self._alike.get(_plain(part), [])
        same = [name for name in alike if _composed(name) == _composed(part)]
        found = same or alike
        return found[0] if len(found) == 1 else None


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _plain(name: str) -> str:
    return _composed(_composed(name).casefold())
