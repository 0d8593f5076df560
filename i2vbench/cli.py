"""The command line: a group whose commands load by name, so that ``--help`` imports no torch."""

from __future__ import annotations

import errno
import importlib
import logging
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import click

from i2vbench import __version__
from i2vbench.console import OneLineFormatter, echo
from i2vbench.errors import UserError
from i2vbench.plain_text import error_line, one_line

_COMMANDS = {
    "run": ("i2vbench.run_commands:run", "Generate, score and show the board."),
    "generate": ("i2vbench.run_commands:generate", "Make the videos of a suite."),
    "score": ("i2vbench.run_commands:score", "Score a run, or any folder of videos."),
    "leaderboard": (
        "i2vbench.leaderboards.commands:leaderboard",
        "Rank runs; text, Markdown, CSV, HTML, LaTeX or JSON.",
    ),
    "list": ("i2vbench.info_commands:list_names", "List models, metrics, suites or protocols."),
    "show-protocol": (
        "i2vbench.info_commands:show_protocol",
        "Show every choice of a protocol, with its source.",
    ),
    "show": ("i2vbench.info_commands:show", "Show what a run is and what it scored."),
    "explain": (
        "i2vbench.info_commands:explain_clip",
        "Show which frames of a clip made its score, as a PNG.",
    ),
    "check": ("i2vbench.info_commands:check", "Try a model and all metrics on one sample."),
    "profile": (
        "i2vbench.profile_command:profile",
        "Measure what a model costs: parameters, FLOPs, seconds, memory.",
    ),
    "train": ("i2vbench.models.commands:train", "Train a model: consisti2v."),
    "ablate": (
        "i2vbench.models.commands:ablate",
        "Train and score ConsistI2V without its parts, beside the paper's table.",
    ),
    "import-names": (
        "i2vbench.info_commands:import_names",
        "Write the manifest of videos named '<prompt>-<take>.mp4'.",
    ),
    "weights": ("i2vbench.weights_commands:weights", "List, fetch, verify or import weights."),
}


class LazyGroup(click.Group):
    """Commands from :data:`_COMMANDS`; a module is imported when its command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of use."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command behind a name; None where there is none."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name in the error."""
        from i2vbench.errors import did_you_mean

        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            ctx.fail(f"no command {name!r}: {did_you_mean(name, _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of ``--help``, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={
        "auto_envvar_prefix": "I2VBENCH",
        "help_option_names": ["-h", "--help"],
        "show_default": True,
    },
)
@click.version_option(__version__, prog_name="i2vbench")
@click.option("--debug", is_flag=True, help="Show tracebacks and log lines of every module.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file with defaults: {run: {model: static, limit: 4}}.",
)
@click.pass_context
def cli(ctx: click.Context, debug: bool, config: Path | None) -> None:
    """How good is an image-to-video model, how does it compare, and how sure are we?"""
    handler = logging.StreamHandler()
    handler.setFormatter(
        OneLineFormatter(
            "%(name)s %(levelname)s: %(message)s" if debug else "%(levelname)s: %(message)s"
        )
    )
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[handler])
    ctx.obj = {"debug": debug}
    if config is not None:
        ctx.default_map = _read_config(config)


def _read_config(path: Path) -> dict[str, Any]:
    from i2vbench.errors import did_you_mean
    from i2vbench.yaml_text import load_yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path} cannot be read: {one_line(error)}") from error
    values = load_yaml(text, f"--config {path}") or {}
    if not isinstance(values, dict) or not all(isinstance(v, dict) for v in values.values()):
        raise UserError(f"--config {path}: accepted is a mapping of commands to options")
    for command, options in values.items():
        if command not in _COMMANDS:
            raise UserError(f"--config {path}: command {did_you_mean(str(command), _COMMANDS)}")
        known = _option_names(command)
        for option in options:
            if str(option).replace("-", "_") not in known:
                accepted = did_you_mean(str(option), known)
                raise UserError(f"--config {path}: {command} has no {option!r}: {accepted}")
    return {
        command: {str(k).replace("-", "_"): v for k, v in options.items()}
        for command, options in values.items()
    }


def _option_names(command: str) -> set[str]:
    module, attribute = _COMMANDS[command][0].split(":")
    loaded: click.Command = getattr(importlib.import_module(module), attribute)
    return {parameter.name for parameter in loaded.params if parameter.name}


def main() -> None:
    """Entry point: user errors are one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # A pipe of a narrow encoding (Windows) gets '?' for an arrow, not a traceback.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        # click returns what ctx.exit was given.
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort as error:
        if isinstance(error.__cause__ or error.__context__, EOFError):
            # click takes every end of a file for the user's Ctrl-D.
            _fail("a file ended before it should; --debug shows which", 1)
        click.echo("\nstopped; repeat the command to go on", err=True)
        sys.exit(130)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code, error)
    except UserError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(_of_the_system(error), 2)


def _fail(message: str, code: int, error: click.ClickException | None = None) -> NoReturn:
    """Prints one line and ends; with --debug the traceback as well."""
    if "--debug" in sys.argv:
        raise
    usage = isinstance(error, click.UsageError) and error.ctx is not None
    if usage and error is not None:
        click.echo(error.ctx.get_usage(), err=True)  # type: ignore[attr-defined]
    echo(f"Error: {one_line(message)}", err=True)
    sys.exit(code)


def _of_the_system(error: OSError) -> str:
    """What a disk, a folder or a network said, and what to do."""
    place = f"{error.filename}: " if error.filename else ""
    advice = {
        errno.ENOSPC: "make room and repeat the command to go on",
        errno.EDQUOT: "make room and repeat the command to go on",
        errno.EROFS: "choose another --output-dir",
        errno.EACCES: "change its permissions or choose another --output-dir",
        errno.EPERM: "change its permissions or choose another --output-dir",
    }
    what = (error.strerror or error_line(error)).lower()
    return f"{place}{what}; {advice.get(error.errno or 0, 'repeat the command to go on')}"


if __name__ == "__main__":
    main()
