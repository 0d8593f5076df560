"""The mutation tool: which changes it finds, and that it changes nothing else."""

import ast

import pytest

from .mutation import ROOT, mirrored_tests, mutants
from .mutation_sites import sites


def changes(source):
    return [description for _, description, _ in sites(source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = b < c", ["b < c -> b <= c", "b < c -> b >= c"]),
        ("a = b is c", ["b is c -> b is not c"]),
        ("a = b + c", ["b + c -> b - c"]),
        ("a = b and c", ["b and c -> b or c"]),
        ("a = not b", ["not b -> b"]),
        ("a = True", ["True -> False"]),
        ("a = 2", ["2 -> 3", "2 -> 1"]),
        ("a = 0.5", ["0.5 -> 0.75"]),
        ("a = 0.0", ["0.0 -> 0.5"]),
        ("a = 'b'", ["'b' -> ''"]),
        ("a = f(b, c)", ["f(b, c) -> f(c, b)"]),
        ("a = f(b=c)", ["f(b=c) -> f()"]),
        ("a = b[c:]", ["c: -> c + 1:"]),
        ("a = b if c else d", ["c -> not c"]),
        ("if a:\n    b.c = d", ["b.c = d -> pass", "a -> not a"]),
        ("def f():\n    return a", ["return a -> return None"]),
        ("for a in b:\n    f(a)", ["f(a) -> pass"]),
        # What no test can notice, or nobody but people reads.
        ("a = min(b, c)", []),
        ("def f():\n    '''Text.'''", []),
        ("raise ValueError('a', 3)", []),
        ("logger.warning('text %s', 1)", []),
        ("a: Literal['b'] = c", []),
        ("A = Literal['b', 'c']", []),
        ("assert a > 1", []),
        ("@dataclass(frozen=True)\nclass A:\n    pass", []),
        ("if TYPE_CHECKING:\n    a = 1", []),
        ("a = f(strict=True)", []),
        ("def f(a: Annotated[int, 3] = b):\n    pass", []),
    ],
)
def test_what_is_changed(source, expected):
    assert sorted(changes(source)) == sorted(expected)


def test_each_mutant_is_one_change_of_valid_code():
    source = "def f(a, b):\n    if a < b and b > 1:\n        return a * 2\n    return [a, b][1:]\n"
    made = list(mutants("f.py", source, 100, 0))
    assert len(made) == len(sites(source))
    plain = ast.unparse(ast.parse(source))
    texts = {mutant.source for mutant in made}
    assert len(texts) == len(made)
    assert plain not in texts
    for mutant in made:
        ast.parse(mutant.source)
        different = zip(plain.splitlines(), mutant.source.splitlines(), strict=True)
        lines = [n for n, (old, new) in enumerate(different, start=1) if old != new]
        assert lines == [mutant.line]


def test_a_seed_gives_the_same_mutants_and_a_larger_count_begins_alike():
    source = (ROOT / "i2vbench" / "fingerprint.py").read_text()
    few, many, other = (
        [mutant.change for mutant in mutants("f.py", source, count, seed)]
        for count, seed in ((4, 0), (8, 0), (8, 1))
    )
    assert many[:4] == few
    assert other != many


def test_the_tests_of_a_file_are_found():
    assert mirrored_tests("metrics/lpips.py") == ["tests/metrics/test_lpips.py"]
    assert "tests/test_fingerprint.py" in mirrored_tests("i2vbench/fingerprint.py")
    found = mirrored_tests("models/consisti2v/noise.py")
    assert "tests/models/consisti2v/test_consisti2v_frameinit.py" in found
    assert all((ROOT / test).is_file() for test in found)
    assert mirrored_tests("metrics/no_such_metric.py") == []
