"""The command line: one line for an error, a screen for help."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from natlens import __version__
from natlens.config import Loaded, Options, effective, load
from natlens.errors import ConfigError, NatlensError
from natlens.health import Health
from natlens.ui.flags import Parser, add_flags, given_flags, refuse_unknown
from natlens.ui.logs import logs_to_stderr, unexpected

if TYPE_CHECKING:
    from natlens.ui.outlet import TerminalOutlet

__all__ = ["main"]

INTERRUPTED = 130  # as a shell has it for SIGINT
USAGE = "%(prog)s [option …]"


@dataclass
class Debug:
    """Whether errors show a traceback: the flag and the variable say so before the options are known."""

    on: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``natlens`` with the given arguments (default: the process's own); return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = Debug("--debug" in arguments or os.environ.get("NATLENS_DEBUG", "").lower() in {"1", "true"})
    try:
        return _dispatch(arguments, debug)
    except NatlensError as error:
        if debug.on:
            traceback.print_exc()
        sys.stderr.write(f"natlens: {error}\n")
        return error.exit_status
    except SystemExit as done:  # argparse, after --help or --version
        return done.code if isinstance(done.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `natlens observe | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's exit complains
        return 0
    except Exception as error:
        if debug.on:
            traceback.print_exc()
        sys.stderr.write(f"natlens: {unexpected(error)}\n")
        return 1


def _dispatch(arguments: list[str], debug: Debug) -> int:
    parser, commands = _parsers()
    parsed, extra = parser.parse_known_args(arguments)
    if parsed.command is None:
        refuse_unknown(parser, extra)
        names = "run, observe, resolve, cardinality, demo, doctor or detach"
        raise ConfigError(f"no command given; choose {names} (natlens --help tells more)")
    if parsed.command not in commands:
        return _program(parsed.command, extra)
    refuse_unknown(commands[parsed.command], extra)
    loaded = load(given_flags(parsed), os.environ)
    debug.on = loaded.options.debug
    if parsed.print_config:
        sys.stdout.write(effective(loaded))
        return 0
    with logs_to_stderr(loaded.options):
        return _run(loaded) if parsed.command == "run" else _observe(loaded, parsed)


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(prog="natlens", description="One exact OTLP record per connection of this node, NAT included.")
    parser.add_argument("--version", action="version", version=f"natlens {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    run = commands.add_parser("run", help="capture and send, or print where no endpoint is configured", usage=USAGE)
    observe = commands.add_parser("observe", help="show records: live, or from a file", usage=USAGE)
    commands.add_parser("demo", help="show natlens at work on a throwaway node", add_help=False)
    commands.add_parser("doctor", help="tell what this machine can do", add_help=False)
    commands.add_parser("resolve", help="tell what an address is, or was, and why", add_help=False)
    commands.add_parser("cardinality", help="tell how many series metrics would cost", add_help=False)
    commands.add_parser("detach", help="remove what natlens left in the kernel", add_help=False)
    _add_observe_flags(observe)
    for command in (run, observe):
        add_flags(command)
    return parser, {"run": run, "observe": observe}


def _add_observe_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to show (shell patterns; either end may match)")
    group.add_argument("--input", metavar="FILE", help="read OTLP JSON lines instead of capturing; - is standard input")
    group.add_argument("-f", "--follow", action="store_true", help="with --input: go on as the file grows")
    for name, what in (
        ("service", "name, or namespace/name"),
        ("namespace", "namespace of an end"),
        ("pod", "name, or namespace/name"),
        ("port", "port, before or after translation"),
    ):
        group.add_argument(f"--{name}", metavar="PATTERN", action="append", default=[], help=f"{what}; may be repeated")
    group.add_argument("--translated-only", action="store_true", help="only what NAT changed")


def _run(loaded: Loaded[Options]) -> int:
    from natlens.delivery.settings import read_settings

    options, health = loaded.options, Health()
    if any(read_settings(options, os.environ, signal) for signal in options.signals):
        return _capture(options, health, None)
    from natlens.ui.outlet import TerminalOutlet

    return _capture(options, health, TerminalOutlet(format=options.format, health=health))


def _observe(loaded: Loaded[Options], parsed: argparse.Namespace) -> int:
    from natlens.ui.filters import Filters
    from natlens.ui.observe import show_file
    from natlens.ui.outlet import TerminalOutlet

    if parsed.follow and parsed.input is None:
        raise ConfigError("--follow is given without --input; name the file to follow, or leave --follow out")
    filters = Filters(parsed.service, parsed.namespace, parsed.pod, parsed.port, parsed.translated_only)
    filters.check()
    health = Health()
    outlet = TerminalOutlet(filters, loaded.options.format, health=health)
    if parsed.input is not None:
        show_file(Path(parsed.input), outlet, follow=parsed.follow)
        return 0
    return _capture(loaded.options, health, outlet)


def _capture(options: Options, health: Health, outlet: "TerminalOutlet | None") -> int:
    """Run the pipeline; ``outlet`` takes the records in place of the network."""
    from natlens import agent

    return agent.run(options, health, outlet)


def _program(name: str, arguments: list[str]) -> int:
    """Run a command that has a command line of its own."""
    try:
        program = import_module(f"natlens.ui.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"natlens.ui.{name}":
            raise
        raise NatlensError(f"{name} is not part of this version; natlens --help lists the commands") from error
    return int(program.main(arguments) or 0)
