"""YAML from users and from files of others, within bounds: a few bytes never become gigabytes."""

from __future__ import annotations

from i2vbench.errors import UserError
from i2vbench.plain_text import short

MAX_CHARACTERS = 1 << 20
MAX_NODES = 10_000
"""Of a document, each alias counted as all that it stands for."""
MAX_DEPTH = 50
"""Of lists and mappings in one another."""


def load_yaml(text: str, what: str) -> object:
    """What ``text`` says, by YAML's safe types.

    Args:
        text: one document.
        what: how the error calls it, e.g. ``--config file.yaml``.

    Raises:
        UserError: no YAML, or more than the bounds above; in one line.
    """
    import yaml

    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{what} is not YAML ({len(text)} characters; at most {MAX_CHARACTERS})")
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _expanded_size(node, {}, MAX_DEPTH)
        value: object = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise UserError(
            f"{what} is not YAML ({short(error.problem or str(error))[1:-1]})"
        ) from error
    except RecursionError as error:
        raise UserError(f"{what} is not YAML (too deeply nested)") from error
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise UserError(f"{what} is not YAML ({short(str(error))[1:-1]})") from error
    finally:
        loader.dispose()
    return value


def _expanded_size(node: object, known: dict[int, int], depth: int) -> int:
    """The nodes below ``node``, aliases counted in full; an error where that is too many."""
    import yaml

    if depth == 0:
        raise ValueError(f"more than {MAX_DEPTH} levels, or an alias of itself")
    if id(node) in known:
        return known[id(node)]
    size = 1
    if isinstance(node, yaml.SequenceNode):
        size += sum(_expanded_size(each, known, depth - 1) for each in node.value)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            size += _expanded_size(key, known, depth - 1)
            size += _expanded_size(value, known, depth - 1)
    if size > MAX_NODES:
        raise ValueError(f"more than {MAX_NODES} values, aliases counted in full")
    known[id(node)] = size
    return size
