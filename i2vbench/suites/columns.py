"""Names of columns: those that have a meaning here, misspelt ones, and the usual ones elsewhere."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from i2vbench.errors import UserError, did_you_mean
from i2vbench.plain_text import short_line, short_repr

# A name is one of these kinds where it has a first word and no other words than these.
_PROMPT_WORDS = frozenset((
    "caption", "captions", "prompt", "prompts", "text", "texts", "sentence", "sentences",
    "description", "descriptions", "instruction", "instructions",
))  # fmt: skip
_PROMPT_ALSO = frozenset((
    "en", "english", "long", "short", "full", "raw", "original", "positive", "video", "image",
    "clip", "motion",
))  # fmt: skip
_FILE_WORDS = frozenset((
    "file", "files", "path", "paths", "filename", "filepath", "name", "url", "image", "images",
    "img", "imgs", "picture", "pictures", "photo", "frame", "video", "videos", "clip", "clips",
    "mp4", "reference", "ref", "gt", "truth",
))  # fmt: skip
_FILE_ALSO = frozenset((
    "first", "input", "source", "src", "condition", "relative", "rel", "local", "ground", "real",
    "start", "media", "key",
))  # fmt: skip
_FILE_COLUMNS = ("file", "image", "reference", "video")
_FILE = re.compile(
    r".+\.(jpe?g|jfif|png|webp|bmp|tiff?|gif|ppm|avif|heic|mp4|m4v|mov|mkv|webm|avi|mpe?g|ts|flv|wmv)",
    re.IGNORECASE | re.DOTALL,
)
_SHOWN = 12
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"mp4|[^\W\d_]+")


def check_columns(
    where: str,
    columns: Mapping[str, str],
    known: Sequence[str],
    required: Sequence[str],
    *,
    named: Mapping[str, str] | None = None,
) -> None:
    """Refuses columns that would be passed over although they are what is wanted.

    As a further column, 'promt' or 'caption' would leave every prompt empty, silently.

    Args:
        where: the table, for messages.
        columns: of the table, each with one of its filled cells, or "" where none is filled.
        known: columns that have a meaning.
        required: columns that there must be.
        named: where options can name columns, those that they named, meaning to column.

    Raises:
        UserError: names the column and what to write.
    """
    for meaning, column in (named or {}).items():
        if column not in columns:
            nearest = short_line(did_you_mean(column, columns))
            raise UserError(f"{where} has no column {short_repr(column)} for {meaning}: {nearest}")
    absent = [column for column in known if column not in columns]
    for column in sorted(columns):
        meant = difflib.get_close_matches(column.lower(), absent, n=1, cutoff=0.8)
        if meant and column not in known and columns[column]:
            raise UserError(
                f"{where}: column {short_repr(column)} is unknown: did you mean {meant[0]!r}? "
                f"rename it (columns with a meaning: {', '.join(known)})"
            )
    passed_over = {
        column: cell
        for column, cell in columns.items()
        if cell and column not in known and column not in (named or {}).values()
    }
    as_option = named is not None
    if "prompt" in absent:
        _ask_about_prompt(where, passed_over, as_option)
    files = [column for column in _FILE_COLUMNS if column in known]
    if files and {*files} <= {*absent} and not {*_FILE_COLUMNS} & {*(named or {})}:
        _ask_about_files(where, passed_over, files, as_option)
    for column in required:
        if column not in columns:
            has = ", ".join(short_line(name, 60) for name in sorted(columns)[:_SHOWN])
            raise UserError(
                f"{where} has no column {column!r}; it has {has}; "
                f"columns with a meaning: {', '.join(known)}"
            )


def prompt_like(columns: Sequence[str]) -> str | None:
    """The column that likely holds prompts under another name; None where there is none.

    >>> prompt_like(["image", "Caption"])
    'Caption'
    """
    return next((column for column in columns if _is_of(column, _PROMPT_WORDS, _PROMPT_ALSO)), None)


def _ask_about_prompt(where: str, passed_over: Mapping[str, str], as_option: bool) -> None:
    column = prompt_like(sorted(passed_over))
    if column is not None:
        option = f", or give the option prompt={short_line(column, 60)}" if as_option else ""
        raise UserError(
            f"{where} has no column 'prompt' but {short_repr(column)}: rename it to 'prompt'"
            f"{option} (or add an empty column 'prompt' to run without prompts)"
        )


def _ask_about_files(
    where: str, passed_over: Mapping[str, str], wanted: Sequence[str], as_option: bool
) -> None:
    for column, cell in sorted(passed_over.items()):
        if _FILE.fullmatch(cell) and _is_of(column, _FILE_WORDS, _FILE_ALSO):
            names = " or ".join(map(repr, wanted))
            options = " or ".join(f"{each}={short_line(column, 60)}" for each in wanted)
            option = f", or give the option {options}" if as_option else ""
            raise UserError(
                f"{where} has no column {names} but {short_repr(column)}: rename it to what it "
                f"holds{option}"
            )


def _is_of(column: str, words: frozenset[str], also: frozenset[str]) -> bool:
    parted = _CAMEL.sub("_", column).lower()
    found = set(_WORD.findall(parted))
    return bool(found & words) and found <= words | also
