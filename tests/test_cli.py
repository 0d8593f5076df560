"""The command line as a user types it, in processes of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from i2vbench.cli import cli, main
from i2vbench.command_options import parse_model_args
from i2vbench.device import has_arithmetic
from i2vbench.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
ADAPTERS = ROOT / "tests" / "adapters.py"
METRICS = f"temporal_flickering,{ADAPTERS}:Brightness"


def call(*arguments: str | Path, check: bool = True, **environment: str):
    done = subprocess.run(
        [sys.executable, "-m", "i2vbench", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def files_of(folder: Path) -> dict[str, bytes]:
    """All that a run leaves but its clock: rows of takes without their seconds."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".lock"):
        content = path.read_bytes()
        if path.name.startswith("takes."):
            rows = [json.loads(line) | {"seconds": 0} for line in content.splitlines()]
            content = json.dumps(rows).encode()
        found[path.relative_to(folder).as_posix()] = content
    return found


@pytest.mark.parametrize(
    ("model", "metrics"), [("Killed", "temporal_flickering"), ("Drift", METRICS)]
)
def test_killed_and_repeated_leaves_the_files_of_an_unbroken_run(
    model, metrics, pictures, tmp_path
):
    """Kill -9 in the middle of generation (Killed) and of scoring (Brightness)."""
    marker = tmp_path / "kill"
    common = ["run", "-m", f"{ADAPTERS}:{model}", "-s", pictures, "--batch-size", "2"]
    common += ["--metrics", metrics, "--no-baselines", "--quiet"]
    call(*common, "-o", tmp_path / "whole", KILL_FILE=str(marker))
    marker.touch()
    broken = call(*common, "-o", tmp_path / "cut", check=False, KILL_FILE=str(marker))
    assert broken.returncode == -9
    assert not list((tmp_path / "cut").rglob("results.json"))
    marker.unlink()
    call(*common, "-o", tmp_path / "cut", KILL_FILE=str(marker))
    whole, cut = files_of(tmp_path / "whole"), files_of(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert [name for name in whole if whole[name] != cut[name]] == []


def test_run_then_again_then_show(pictures, tmp_path):
    common = [
        "run",
        "-m",
        f"{ADAPTERS}:Drift",
        "-a",
        "step=2",
        "-s",
        pictures,
        "-o",
        tmp_path / "r",
    ]
    common += ["--metrics", "temporal_flickering"]
    first = call(*common)
    assert "generating drift" in first.stderr
    assert "scoring drift" in first.stderr
    (run,) = (tmp_path / "r" / "pictures").iterdir()
    for name in ("run.json", "results.json", "board.md", "board.csv", "board.html"):
        assert (run / name).stat().st_size > 0
    again = call(*common)
    assert again.stdout.splitlines()[-1] != ""
    assert "All is done" in again.stdout
    shown = call("show", run)
    assert "step = 2" in shown.stdout
    assert "6 ok, 0 failed" in shown.stdout
    rescored = call("score", run, "--metrics", "temporal_flickering,lpips_first_frame", "--quiet")
    assert str(run) in rescored.stdout


def test_failures_beyond_the_forgiven_are_exit_code_1(pictures, tmp_path):
    (pictures / "p3.png").write_bytes(b"no picture")
    common = ["run", "-m", f"{ADAPTERS}:Drift", "-s", pictures, "-o", tmp_path / "r", "--quiet"]
    common += ["--metrics", "temporal_flickering"]
    done = call(*common, check=False)
    assert done.returncode == 1
    assert "failed: p3, take 0" in done.stderr
    (run,) = (tmp_path / "r" / "pictures").iterdir()
    scores = json.loads((run / "results.json").read_text())["scores"]
    assert (scores[0]["n_scored"], scores[0]["n_expected"]) == (5, 6)
    call(*common, "--max-failures", "1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "-m", "consisti2w"], "did you mean 'consisti2v'?"),
        (["run", "-m", "static", "-s", "playgroud"], "did you mean 'playground'?"),
        (["run", "-m", "static", "--metrics", "fdv"], "did you mean 'fvd'?"),
        (["run", "-m", "static", "--protocol", "embeded"], "did you mean 'embedded'?"),
        (["run", "-m", "static", "--device", "tpu"], "accepted are auto, cpu, cuda and cuda:i"),
        (["run", "-m", "static", "--backend", "onnx"], "'onnx' is not one of 'torch', 'openvino'"),
        (["run", "-m", "static", "-a", "speed"], "accepted is KEY=VALUE"),
        (["run", "-m", "nothere.py:X"], "nothere.py does not exist"),
        (["rum"], "did you mean 'run'?"),
        (["show", "tests"], "it has no run.json"),
        (["--config", "pyproject.toml", "list", "models"], "is not YAML"),
    ],
)
def test_mistakes_are_one_line(arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["i2vbench", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len([line for line in error.splitlines() if line.startswith("Error")]) == 1


def test_cuda_where_there_is_none_is_one_line(monkeypatch):
    from i2vbench.device import resolve_device

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="this machine has no CUDA devices; use --device cpu"):
        resolve_device("cuda")
    assert resolve_device("auto") == "cpu"


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("supported", [True, False])
def test_a_precision_without_arithmetic_is_told(dtype, supported, monkeypatch):
    """A CPU without it multiplies number by number; nobody who asks for speed means that."""
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, f"_is_mkldnn_{dtype}_supported", lambda: supported)
    command = ["run", "-m", f"{ADAPTERS}:Drift", "--dry-run", "--device", "cpu"]
    told = CliRunner().invoke(cli, [*command, "--dtype", dtype])
    assert told.exit_code == 0, told.output
    assert (f"--dtype {dtype} is many times slower than fp32" in told.output) != supported
    assert has_arithmetic(dtype, "cuda:0")
    assert has_arithmetic("fp32", "cpu")
    if dtype == "bf16":
        scored = CliRunner().invoke(cli, [*command, "--scoring-dtype", dtype])
        assert (scored.exit_code == 0) == supported
        refused = "this CPU has no bf16 arithmetic; use --scoring-dtype fp32"
        assert (refused == str(scored.exception)) != supported


def test_defaults_come_from_a_file_and_the_environment(pictures, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(f"run: {{model: '{ADAPTERS}:Drift', suite: '{pictures}', limit: 2}}\n")
    arguments = ["--config", str(config), "run", "--dry-run"]
    plain = CliRunner().invoke(cli, arguments)
    assert ": 2 clips" in plain.output, plain.output
    varied = CliRunner(env={"I2VBENCH_RUN_LIMIT": "3"}).invoke(cli, arguments)
    assert ": 3 clips" in varied.output
    config.write_text("run: {limt: 2}\n")
    wrong = CliRunner().invoke(cli, arguments)
    assert "did you mean 'limit'?" in str(wrong.exception)


def test_a_dry_run_makes_nothing(pictures, tmp_path):
    arguments = ["run", "-m", f"{ADAPTERS}:Drift", "-s", str(pictures), "-o", str(tmp_path / "r")]
    done = CliRunner().invoke(cli, [*arguments, "--dry-run"])
    assert done.exit_code == 0
    assert '"seed":0' in done.output
    assert not (tmp_path / "r").exists()


def test_values_of_model_options_are_yaml():
    pairs = ["a=1", "b-c=true", "d=x=y", "e=[1, 2]", "f=null"]
    expected = {"a": 1, "b_c": True, "d": "x=y", "e": [1, 2], "f": None}
    assert parse_model_args(pairs) == expected
    with pytest.raises(UserError, match="given twice"):
        parse_model_args(["a=1", "a=2"])
