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
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

if __package__:
    from .mutation_sites import parsed, sites
else:  # run as a script
    from mutation_sites import parsed, sites

ROOT = Path(__file__).resolve().parent.parent
# Of the copy; the rest of the repository is neither code nor read by tests.
IGNORED = shutil.ignore_patterns("__pycache__", ".*", "runs", "build", "dist", "*.egg-info")

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


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file."""

    file: str
    line: int
    change: str
    source: str
    """The whole file, changed."""


def mutants(file: str, source: str, count: int, seed: int) -> Iterator[Mutant]:
    """``count`` different mutants, those of a smaller count first; all if there are not so many."""
    total = len(sites(source))
    order = random.Random(f"{file} {seed}").sample(range(total), total)
    # Comments and docstrings go: nothing reads them but people.
    for number in order[:count]:
        tree, found = parsed(source)
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
