"""Mutation testing: which small changes of the code does no test notice?

    python tests/mutation.py --files metrics/frechet.py --count 20 --results mutants.jsonl

Draws mutants of each file (a comparison turned, a constant changed, an assignment deleted, ...),
and, in a copy of the repository, runs the tests that mirror the file on one mutant at a time. A
mutant that all tests pass is a hole in the tests, or does the same as the original. Each is a line
of the results file; the same command goes on where it stopped. pytest does not collect this file,
and CI does not run it: it takes minutes a file.

The libraries are loaded once and each run is a fork of that process, so this needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Of the copy; the rest of the repository is neither code nor read by tests.
IGNORED = shutil.ignore_patterns("__pycache__", ".*", "runs", "build", "dist", "*.egg-info")

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult, ast.Add),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitAnd,),
}
CONSISTI2V = "tests/models/consisti2v/test_consisti2v_"
# For files whose tests have other names than theirs.
MIRRORS = {
    **{
        f"models/consisti2v/{name}.py": [f"{CONSISTI2V}{test}.py" for test in tests]
        for name, tests in {
            "adapter": ["modes"],
            "attention": ["unet"],
            "blocks": ["unet"],
            "noise": ["frameinit", "modes"],
            "preprocess": ["frameinit", "camera"],
            "sampling": ["adapter", "pipeline"],
            "schedulers": ["modes"],
            "spatial": ["unet", "pieces"],
            "temporal": ["unet", "attention", "pieces"],
            "text_to_image": ["modes", "finite"],
        }.items()
    },
    **{
        f"metrics/{name}.py": ["tests/metrics/test_clip_metrics_values.py"]
        for name in (
            *("camera_motion", "clipsim", "consistency", "frame_quality", "i2v_similarity"),
            *("inception_score", "motion"),
        )
    },
    "i2vbench/totals.py": ["tests/test_protocol.py", "tests/leaderboards/test_vbench_totals.py"],
    **{
        f"leaderboards/{name}.py": [
            f"tests/leaderboards/test_{test}.py" for test in ("board", "formatting", "cost")
        ]
        for name in ("columns", "comparability", "notes", "ranking", "table")
    },
}
# In whatever order their arguments come.
COMMUTATIVE = {"min", "max", "gcd", "equal", "dot"}
# Their arguments are words for people: errors, logs, warnings, descriptions.
WORDY_CALLS = {"warning", "info", "debug", "error", "warn", "echo", "write", "option", "command"}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file."""

    file: str
    line: int
    change: str
    source: str
    """The whole file, changed."""


class Sites(ast.NodeVisitor):
    """Collects the places of a file that can be changed, each with what makes the change.

    A site is (line, description, change); ``change`` alters the tree that was visited, in place.
    """

    def __init__(self) -> None:
        self.found: list[tuple[int, str, Callable[[], None]]] = []
        self._skipped: set[int] = set()

    def add(self, node: ast.AST, description: str, change: Callable[[], None]) -> None:
        """Keeps a site."""
        self.found.append((getattr(node, "lineno", 0), description, change))

    def _replace(self, parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
        def change() -> None:
            for name, value in ast.iter_fields(parent):
                if value is old:
                    setattr(parent, name, new)
                elif isinstance(value, list):
                    value[:] = [new if item is old else item for item in value]

        ast.copy_location(new, old)
        shown = [ast.unparse(ast.fix_missing_locations(node)) for node in (old, new)]
        self.add(old, f"{shown[0]} -> {shown[1]}", change)

    def generic_visit(self, node: ast.AST) -> None:
        """Visits the children, with the node as their parent."""
        for child in ast.iter_child_nodes(node):
            if id(child) in self._skipped:
                continue
            self._look(node, child)
            self.visit(child)

    def _look(self, parent: ast.AST, node: ast.AST) -> None:
        if isinstance(node, ast.Constant):
            self._constant(parent, node)
        elif isinstance(node, ast.BoolOp):
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            self._replace(parent, node, ast.BoolOp(op=other, values=node.values))
        elif isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.Not | ast.USub):
                self._replace(parent, node, node.operand)
        elif isinstance(node, ast.BinOp):
            for kind in OPERATORS.get(type(node.op), ()):
                changed = ast.BinOp(left=node.left, op=kind(), right=node.right)
                self._replace(parent, node, changed)
        elif isinstance(node, ast.Compare):
            for place, operator in enumerate(node.ops):
                for kind in COMPARISONS.get(type(operator), ()):
                    operators = [*node.ops]
                    operators[place] = kind()
                    changed = ast.Compare(
                        left=node.left, ops=operators, comparators=node.comparators
                    )
                    self._replace(parent, node, changed)
        elif isinstance(node, ast.Slice):
            self._slice(parent, node)
        elif isinstance(node, ast.Call):
            self._call(parent, node)
        elif isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(
            node.test, ast.Compare
        ):
            self._replace(node, node.test, ast.UnaryOp(op=ast.Not(), operand=node.test))
        elif isinstance(node, ast.Return) and not isinstance(node.value, ast.Constant | None):
            self._replace(parent, node, ast.Return(value=ast.Constant(value=None)))

    def _constant(self, parent: ast.AST, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replace(parent, node, ast.Constant(value=not value))
        elif isinstance(value, int):
            self._replace(parent, node, ast.Constant(value=value + 1))
            if value > 1:
                self._replace(parent, node, ast.Constant(value=value - 1))
        elif isinstance(value, float):
            self._replace(parent, node, ast.Constant(value=value * 1.5 or 0.5))
        elif isinstance(value, str) and value and " " not in value:
            self._replace(parent, node, ast.Constant(value=""))

    def _slice(self, parent: ast.AST, node: ast.Slice) -> None:
        for name in ("lower", "upper"):
            bound = getattr(node, name)
            if bound is not None and not isinstance(bound, ast.Constant):
                later = ast.BinOp(left=bound, op=ast.Add(), right=ast.Constant(value=1))
                changed = copy.copy(node)
                setattr(changed, name, later)
                self._replace(parent, node, changed)

    def _call(self, parent: ast.AST, node: ast.Call) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in WORDY_CALLS:
            return
        if name not in COMMUTATIVE and not any(isinstance(a, ast.Starred) for a in node.args):
            for place in range(len(node.args) - 1):
                first, second = node.args[place : place + 2]
                if ast.dump(first) != ast.dump(second):
                    swapped = [*node.args]
                    swapped[place : place + 2] = [second, first]
                    changed = ast.Call(func=node.func, args=swapped, keywords=node.keywords)
                    self._replace(parent, node, changed)
        for keyword in node.keywords:
            if keyword.arg not in (None, "strict"):
                rest = [other for other in node.keywords if other is not keyword]
                self._replace(parent, node, ast.Call(func=node.func, args=node.args, keywords=rest))

    def visit_Expr(self, node: ast.Expr) -> None:
        """Skips docstrings."""
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        """Skips values that were marked."""
        if id(node.value) not in self._skipped:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Skips words for people."""
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        # No test can tell zip(..., strict=True) from a plain one.
        self._skipped.update(id(word.value) for word in node.keywords if word.arg == "strict")
        if name not in WORDY_CALLS:
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Goes into the values of an f-string only."""
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self._look(part, part.value)
                self.visit(part.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Skips the words of errors."""

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Skips the words of a type, which nothing reads."""
        if getattr(node.value, "id", "") != "Literal":
            self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Skips decorators, such as that of a dataclass."""
        self._skipped.update(id(decorator) for decorator in node.decorator_list)
        self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        """Skips invariants, which no test can break."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Skips imports."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Skips annotations."""
        if node.value is not None:
            self._skipped.update((id(node.annotation), id(node.target)))
            self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        """Skips annotations."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Visits defaults and body."""
        self._skipped.update(id(decorator) for decorator in node.decorator_list)
        if node.returns is not None:
            self._skipped.add(id(node.returns))
        self.generic_visit(node)

    def visit(self, node: ast.AST) -> None:
        """Adds the deletion of statements, then visits as usual."""
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and not isinstance(node, ast.Module | ast.ClassDef):
                for statement in block:
                    self._deletion(node, statement)
        super().visit(node)

    def _deletion(self, parent: ast.AST, node: ast.stmt) -> None:
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        is_store = isinstance(node, ast.Assign | ast.AugAssign) and isinstance(
            node.targets[0] if isinstance(node, ast.Assign) else node.target,
            ast.Attribute | ast.Subscript,
        )
        again = isinstance(node, ast.AugAssign | ast.Raise | ast.Continue | ast.Break)
        if is_call or is_store or again:
            self._replace(parent, node, ast.Pass())


def sites(source: str) -> list[tuple[int, str, Callable[[], None]]]:
    """Line, description and change of every site; ``changes`` are of this call's own tree."""
    return _parsed(source)[1]


def _parsed(source: str) -> tuple[ast.Module, list[tuple[int, str, Callable[[], None]]]]:
    tree = ast.parse(source)
    # A block of `if TYPE_CHECKING` never runs.
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_CHE" in ast.dump(n))]
    visitor = Sites()
    visitor.visit(tree)
    return tree, visitor.found


def mutants(file: str, source: str, count: int, seed: int) -> Iterator[Mutant]:
    """``count`` different mutants, those of a smaller count first; all if there are not so many."""
    total = len(sites(source))
    order = random.Random(f"{file} {seed}").sample(range(total), total)
    # Comments and docstrings go: nothing reads them but people.
    for number in order[:count]:
        tree, found = _parsed(source)
        line, change, apply = found[number]
        apply()
        text = ast.unparse(ast.fix_missing_locations(tree))
        yield Mutant(file=file, line=line, change=change, source=text)


def mirrored_tests(file: str, root: Path = ROOT) -> list[str]:
    """The tests whose names hold the file's, then those of :data:`MIRRORS`."""
    path = Path(file)
    folder = root / "tests" / (path.parent if path.parts[0] != "i2vbench" else "")
    if path.parts[0] == "i2vbench" and len(path.parts) > 2:
        folder = root / "tests" / path.parts[1]
    stem = path.stem
    names = [f"test_{stem}.py", f"test_{stem}_*.py", f"test_*_{stem}.py", f"test_*_{stem}_*.py"]
    found = {test for name in names for base in {folder, folder.parent} for test in base.glob(name)}
    named = {str(test.relative_to(root)) for test in found}
    return [*sorted(named), *(test for test in MIRRORS.get(file, ()) if test not in named)]


class Runner:
    """A copy of the repository, and a process in which the libraries are loaded.

    The process reads a list of pytest arguments per line and answers with the exit status; every
    run is a fork of it, so that a changed module is imported afresh.
    """

    def __init__(self, scratch: Path, timeout_s: float) -> None:
        self.root = scratch / "copy"
        self._timeout_s = timeout_s
        shutil.copytree(ROOT, self.root, ignore=IGNORED)
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TMPDIR": str(scratch),
        }
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--serve"],
            cwd=self.root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def passes(self, tests: Sequence[str], modules_to: Path | None = None) -> tuple[str, float]:
        """``passed``, ``failed``, ``timeout`` or ``broken``, and the seconds it took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        start = time.monotonic()
        order = {
            "arguments": ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", *tests],
            "timeout_s": self._timeout_s,
            "modules_to": None if modules_to is None else str(modules_to),
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip(), time.monotonic() - start

    def load(self, modules: Sequence[str]) -> None:
        """Imports libraries into the process, for the forks to come."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"load": list(modules)}) + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve() -> None:
    """The other end of :class:`Runner`."""
    answers = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    # This script's own folder, which would make `conftest` a module of that name.
    del sys.path[0]
    for line in sys.stdin:
        order = json.loads(line)
        if "load" in order:
            _import(order["load"])
            answer = "loaded"
        else:
            child = os.fork()
            if child == 0:
                os.setsid()
                os.dup2(null, 0)
                output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                os.dup2(output, 1)
                os.dup2(output, 2)
                os._exit(_run(order["arguments"], order["modules_to"]))
            answer = _wait(child, order["timeout_s"])
        answers.write(answer + "\n")
        answers.flush()


def _import(names: Sequence[str]) -> None:
    import importlib
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            try:
                importlib.import_module(name)
            except (ImportError, AttributeError, ValueError, RuntimeError):
                # Only a library that saves no time now; the tests load it themselves.
                continue


def _run(arguments: Sequence[str], modules_to: str | None) -> int:
    import pytest

    sys.path.insert(0, str(Path.cwd()))
    status = int(pytest.main(list(arguments)))
    if modules_to is not None:
        here = str(Path.cwd())
        names = []
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            own = name.split(".")[0] in ("i2vbench", "tests", "conftest", "__main__")
            if file and not own and not file.startswith(here) and not name.startswith("_"):
                names.append(name)
        Path(modules_to).write_text(json.dumps(names))
    return status


def _wait(child: int, timeout_s: float) -> str:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return {0: "passed", 1: "failed", 2: "failed"}.get(code, f"broken ({code})")
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def run_file(runner: Runner, file: str, tests: Sequence[str], options: argparse.Namespace) -> None:
    """Tries the mutants of one file and appends a row for each."""
    verdicts = _verdicts(options.results)
    again = {key for key, verdict in verdicts.items() if verdict == "survived" and options.again}
    source = (ROOT / file).read_text(encoding="utf-8")
    wanted = list(mutants(file, source, options.count, options.seed))
    keys = [(m.file, m.line, m.change) for m in wanted]
    pending = [
        mutant
        for mutant, key in zip(wanted, keys, strict=True)
        if key not in verdicts or key in again
    ]
    if not pending:
        return
    modules = runner.root.parent / "modules.json"
    modules.unlink(missing_ok=True)
    # Once to learn which libraries the tests load, once with these loaded before.
    for record in (modules, None):
        result, seconds = runner.passes(tests, record)
        if result != "passed":
            output = (runner.root / "output.txt").read_text(encoding="utf-8", errors="replace")
            raise SystemExit(f"{output}\n{file}: the tests fail without a change ({result})")
        if record is not None:
            runner.load(json.loads(record.read_text()))
    print(f"{file}: {len(pending)} mutants, tests take {seconds:.0f} s", flush=True)  # noqa: T201
    target = runner.root / file
    try:
        for mutant in pending:
            target.write_text(mutant.source, encoding="utf-8")
            result, seconds = runner.passes(tests)
            verdict = "survived" if result == "passed" else "killed"
            row = {k: v for k, v in asdict(mutant).items() if k != "source"}
            row |= {"verdict": verdict, "result": result, "seconds": round(seconds, 1)}
            with options.results.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            shown = f"{verdict:8} {file}:{mutant.line}: {mutant.change} [{result}]"
            print(shown, flush=True)  # noqa: T201
    finally:
        target.write_text(source, encoding="utf-8")


def _verdicts(results: Path) -> dict[tuple[str, int, str], str]:
    """File, line and change -> the last verdict."""
    if not results.is_file():
        return {}
    rows = map(json.loads, results.read_text(encoding="utf-8").splitlines())
    return {(row["file"], row["line"], row["change"]): row["verdict"] for row in rows}


def main() -> None:
    """Parses the command line and tries the mutants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs="+", default=[], help="source files to change")
    parser.add_argument("--tests", nargs="+", help="tests to run; those that mirror it if left out")
    parser.add_argument("--count", type=int, default=20, help="mutants of each file")
    parser.add_argument("--again", action="store_true", help="try those that survived once more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=300, help="seconds for a run of the tests")
    parser.add_argument("--results", type=Path, default=Path("mutants.jsonl"))
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    options.results = options.results.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        runner = Runner(Path(scratch), options.timeout)
        try:
            for file in options.files:
                tests = options.tests or mirrored_tests(file)
                if not tests:
                    raise SystemExit(f"{file}: no tests mirror it; name them with --tests")
                run_file(runner, file, tests, options)
        finally:
            runner.close()
    for file in options.files:
        found = [v for key, v in _verdicts(options.results).items() if key[0] == file]
        survived = found.count("survived")
        counts = f"{len(found)} mutants, {len(found) - survived} killed, {survived} survived"
        print(f"{file}: {counts}")  # noqa: T201


if __name__ == "__main__":
    main()
