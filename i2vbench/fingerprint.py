"""Fingerprints: sha256 of the canonical JSON of all that changes a number, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

FINGERPRINT_VERSION = 1


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces; NaN and unknown types are errors.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    '{"a":[1.5,null],"b":1}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def fingerprint(fields: Mapping[str, Any]) -> str:
    """The 64 hex digits that stand for ``fields``."""
    payload = {"fingerprint_version": FINGERPRINT_VERSION, **fields}
    # Half a character, as a broken file name holds, has no UTF-8, but it has an identity.
    text = canonical_json(payload).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()


def differing_fields(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Lines ``path: old -> new`` for each field that differs, nested mappings walked.

    >>> differing_fields({"seed": 0, "model": {"name": "a"}}, {"seed": 1, "model": {"name": "a"}})
    ['seed: 0 -> 1']
    """
    lines: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differing_fields(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return lines
