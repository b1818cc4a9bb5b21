"""The command line: one file for each command, loaded when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tumorscope.cli._console import complain
from tumorscope.errors import Exit, TumorscopeError, look_up

COMMANDS = {
    "demo": "tumorscope.cli.demo:demo",
    "predict": "tumorscope.cli.predict:predict",
    "audit": "tumorscope.cli.audit:audit",
    "prepare": "tumorscope.cli.prepare:prepare",
    "explore": "tumorscope.cli.explore:explore",
    "split": "tumorscope.cli.split:split",
    "augment": "tumorscope.cli.augment:augment",
    "balance": "tumorscope.cli.balance:balance",
    "train": "tumorscope.cli.train:train",
    "tune": "tumorscope.cli.tune:tune",
    "synthesize": "tumorscope.cli.synthesize:synthesize",
    "evaluate": "tumorscope.cli.evaluate:evaluate",
    "compare": "tumorscope.cli.compare:compare",
    "explain": "tumorscope.cli.explain:explain",
    "annotate": "tumorscope.cli.annotate:annotate",
    "serve": "tumorscope.cli.serve:serve",
    "export": "tumorscope.cli.export:export",
    "models": "tumorscope.cli.models:models",
    "weights": "tumorscope.cli.weights:weights",
    "doctor": "tumorscope.cli.doctor:doctor",
}
"""Name of each command and where its function lies, in the order of the help; a module here imports nothing heavy."""


class Interrupted(TumorscopeError):
    """The user stopped a command before it had results to keep."""

    exit_code = Exit.PARTIAL


class Commands(TyperGroup):
    """The group of all commands, each imported on first use."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        target = getattr(import_module(module), attribute)
        if not isinstance(target, typer.Typer):
            function, target = target, typer.Typer(add_completion=False, rich_markup_mode=None)
            target.command(cmd_name)(function)
        command = typer.main.get_command(target)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name; an unknown one is an error that lists those there are."""
        if args and not args[0].startswith("-"):
            look_up(args[0], COMMANDS, "command")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C becomes an error of one line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted("stopped by Ctrl-C; nothing is half-written, the same command starts again") from error


app = typer.Typer(
    cls=Commands, add_completion=False, rich_markup_mode=None, context_settings={"max_content_width": 100}
)


@app.callback(epilog="Research software, not a medical device.")
def tumorscope(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Brain tumours in MRI scans: detection, segmentation, and numbers that hold up.

    \b
    Start with
      tumorscope demo
      tumorscope predict SCANS -o RESULTS
    """  # noqa: D301


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code (0 well, 1 internal error, 2 usage or nothing usable, 3 in part)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if given == ["--version"]:
        from tumorscope._version import __version__

        print(f"tumorscope {__version__}")
        return Exit.OK
    try:
        code = typer.main.get_command(app).main(args=given or ["--help"], prog_name="tumorscope", standalone_mode=False)
        sys.stdout.flush()
        return int(code or Exit.OK)
    except TumorscopeError as error:
        complain(str(error))
        return error.exit_code
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:
        if hasattr(error, "format_message"):
            complain(_usage(error, given))
            return Exit.USAGE
        if os.environ.get("TUMORSCOPE_DEBUG"):
            raise
        complain(f"internal error, {type(error).__name__}: {error}; set TUMORSCOPE_DEBUG=1 to see where, and report it")
        return Exit.INTERNAL


def _usage(error: Any, given: Sequence[str]) -> str:
    """One line on a wrong option or argument, with the help to read."""
    command = next((word for word in given if word in COMMANDS), None)
    place = f"tumorscope {command}" if command else "tumorscope"
    return f"{str(error.format_message()).strip().rstrip('.')}; see: {place} --help"
