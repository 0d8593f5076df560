"""YAML from outside, within bounds: a few lines of YAML can state more than a memory holds.

An alias stands for all that its anchor holds, so nine lines of ten aliases each are 10^9 values
("billion laughs"). Sizes are therefore counted from the parser's events, with what aliases stand
for, before any value is made. What is within the bounds is read as ``yaml.safe_load`` reads it,
except that a key that stands twice in one mapping is refused.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from i2vbench.errors import UserError
from i2vbench.plain_text import short_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    import yaml

MAX_CHARACTERS = 2**18
"""Of the text, and of all its scalars with aliases written out."""
MAX_DIGITS = 300
"""Of a number; more do not fit a float, and Python prints no integer of more than 4300."""
_MAX_REASON = 120


def load_yaml(text: str, what: str, *, max_nodes: int = 10_000, max_depth: int = 50) -> object:
    """What one YAML document says, as ``yaml.safe_load`` reads it; None where it is empty.

    Args:
        text: the document, at most 2^18 characters.
        what: stands first in messages, e.g. ``protocol mine.yaml``.
        max_nodes: values of the document, aliases written out.
        max_depth: levels of lists and mappings in each other, aliases written out.

    Raises:
        UserError: not YAML, beyond a bound, an alias within what it stands for, a number of more
            than 300 characters, or a key that stands twice in one mapping.
    """
    import yaml

    if len(text) > MAX_CHARACTERS:
        raise _refusal(what, f"it has {len(text):,} characters, accepted are {MAX_CHARACTERS:,}")
    try:
        # The events come one by one: what is too large is refused where it becomes so.
        _Bounds(max_nodes=max_nodes, max_depth=max_depth).check(
            yaml.parse(text, Loader=yaml.SafeLoader)
        )
        return yaml.load(text, Loader=_loader())  # noqa: S506 (a SafeLoader that refuses more)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark is not None and "\n" in text.strip() else ""
        problem = error.problem or ""
        if error.context and (not problem or problem.startswith(("but ", "second "))):
            problem = f"{error.context}, {problem}"
        raise _refusal(what, f"{where}{problem}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise _refusal(what, str(error).partition("\n")[0]) from error
    except (LookupError, TypeError, AttributeError) as error:
        # PyYAML's constructors fail so at odd scalars of an explicit tag, e.g. "!!int _".
        raise _refusal(what, f"a value does not fit its tag ({type(error).__name__})") from error
    except RecursionError as error:
        raise _refusal(what, "it is nested too deeply") from error


def _refusal(what: str, reason: str) -> UserError:
    line = short_line(" ".join(reason.split()), _MAX_REASON)
    return UserError(f"{what} is not YAML ({line})")


@dataclass(kw_only=True)
class _Extent:
    """How large a node is, aliases written out."""

    anchor: str | None
    nodes: int = 1
    characters: int = 0
    depth: int = 0

    def add(self, other: _Extent) -> None:
        self.nodes += other.nodes
        self.characters += other.characters
        self.depth = max(self.depth, other.depth + 1)


class _Bounds:
    """Walks the events of a document and stops where it becomes too large."""

    def __init__(self, *, max_nodes: int, max_depth: int) -> None:
        self._max_nodes = max_nodes
        self._max_depth = max_depth
        self._anchors: dict[str, _Extent] = {}
        self._open: list[_Extent] = []
        self._seen = 0

    def check(self, events: Iterable[Any]) -> None:
        """Raises ValueError where a bound is passed."""
        import yaml

        for event in events:
            if isinstance(event, yaml.CollectionStartEvent):
                self._count(1)
                self._open.append(_Extent(anchor=event.anchor))
                if len(self._open) > self._max_depth:
                    raise ValueError(self._too_deep())
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close(self._open.pop())
            elif isinstance(event, yaml.ScalarEvent):
                self._count(1)
                self._close(_Extent(anchor=event.anchor, characters=len(event.value)))
            elif isinstance(event, yaml.AliasEvent):
                self._close_alias(event.anchor)

    def _count(self, nodes: int) -> None:
        self._seen += nodes
        if self._seen > self._max_nodes:
            raise ValueError(f"it has more than {self._max_nodes:,} values, aliases written out")

    def _close(self, node: _Extent) -> None:
        if node.anchor is not None:
            self._anchors[node.anchor] = node
        self._add(node)

    def _close_alias(self, anchor: str | None) -> None:
        if any(parent.anchor == anchor for parent in self._open):
            raise ValueError(f"*{anchor} stands within what it stands for")
        target = self._anchors.get(anchor or "")
        # The composer names an alias without an anchor, with its line.
        if target is not None:
            self._count(target.nodes)
            self._add(target)

    def _add(self, node: _Extent) -> None:
        if node.characters > MAX_CHARACTERS:
            raise ValueError(f"it has more than {MAX_CHARACTERS:,} characters, aliases written out")
        if len(self._open) + node.depth > self._max_depth:
            raise ValueError(self._too_deep())
        if self._open:
            self._open[-1].add(node)

    def _too_deep(self) -> str:
        return f"it is nested more than {self._max_depth} levels deep"


@functools.cache
def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses keys that stand twice, and long numbers."""

        def compose_mapping_node(self, anchor: Any) -> Any:  # noqa: ANN401
            # Before keys are merged ("<<"), which may well give one again.
            node = super().compose_mapping_node(anchor)
            seen: set[Any] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                    continue
                value = self.construct_object(key)
                if value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value[:40]!r} stands twice", key.start_mark
                    )
                seen.add(value)
            return node

    def number(loader: Any, node: Any) -> Any:  # noqa: ANN401
        if len(node.value) > MAX_DIGITS:
            raise yaml.constructor.ConstructorError(
                None, None, f"a number of {len(node.value):,} characters", node.start_mark
            )
        is_int = node.tag.endswith(":int")
        return loader.construct_yaml_int(node) if is_int else loader.construct_yaml_float(node)

    for kind in ("int", "float"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", number)
    return Loader
