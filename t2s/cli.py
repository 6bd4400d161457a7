"""The command `t2s`, with one sub-command for each file of stages/, report/ and support/."""

from __future__ import annotations

import argparse
import difflib
import importlib
import io
import sys
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

from t2s import packages
from t2s.errors import SimulationError

COMMANDS: Final = {
    "stages": {
        "label": "name the set of LIBERO's scene assets",
        "download": "fetch LIBERO's demonstrations or scene assets",
        "demos": "script demonstrations; --check counts successes",
        "language": "embed the instructions of a suite",
        "learn": "learn one task",
        "evaluate": "roll out the policies of one task",
        "choose": "keep the best policy of one task",
        "film": "film the last policy on every task",
    },
    "report": {
        "metrics": "compute FWT, NBT and AUC from episode records",
        "tables": "write the tables",
        "figures": "draw the figures",
        "report": "write the page; --summary prints the headline",
        "compare": "say whether a run is as good as a study, and what differs",
    },
    "support": {
        "doctor": "say what is missing on this machine and how to get it",
        "estimate": "say how long a study takes and how much disk it needs",
        "render": "compare the two render qualities of a LIBERO task",
        "bench": "measure how fast everything is here, and write docs/performance.md",
        "keep": "keep the results of a run as a study in studies/",
        "pull": "fetch the results of this commit from the DVC remote",
        "provenance": "record where the numbers of a run come from",
    },
}
"""Summary of every command, by the folder of its file."""
TITLES: Final = {
    "stages": "run (the workflow calls these, in this order):",
    "report": "look (at the records of a run, or of a kept study):",
    "support": "help yourself:",
}


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line, with the nearest option that exists."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Like argparse's, but an unknown option is reported before a missing one."""
        for argument in args or []:
            option = argument.partition("=")[0]
            if option.startswith("--") and option not in self._option_string_actions:
                self.error(unknown("option", option, self._option_string_actions))
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print `message` and exit with status 2."""
        self.exit(2, f"error: {message}; see `{self.prog} --help`\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; an expected error is printed as one line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the terminal's encoding may lack a character
    try:
        return run(sys.argv[1:] if argv is None else argv)
    except (ValueError, OSError, SimulationError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit status.

    Raises: ValueError, OSError or SimulationError as the command does; SystemExit for a mistake in `argv`.
    """
    folders = {name: folder for folder, names in COMMANDS.items() for name in names}
    parser = Parser(prog="t2s", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    name, *rest = argv or ["--help"]
    if name.startswith("-"):
        print(version() if parser.parse_args([name]).version else overview())
        return 0
    if name not in folders:
        parser.error(unknown("command", name, folders))
    if folders[name] == "stages":
        packages.check()  # before anything is imported from the wrong place
    module = importlib.import_module(f"t2s.{folders[name]}.{name}")
    parser = Parser(
        prog=f"t2s {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.arguments(parser)
    return module.main(parser.parse_args(rest)) or 0


def unknown(what: str, name: str, have: Iterable[str]) -> str:
    """One line about a name that does not exist: the nearest one that does, or all."""
    close = difflib.get_close_matches(name, have, n=1)
    return f"unknown {what} '{name}'" + (f"; did you mean '{close[0]}'?" if close else f"; have {', '.join(have)}")


def overview() -> str:
    """The help of `t2s`: every command with its summary, in groups."""
    lines = ["usage: t2s COMMAND [options]", "", "A study is run with `snakemake --cores all`, or `make reproduce`."]
    for folder, title in TITLES.items():
        lines += ["", title, *(f"  {name:<11} {summary}" for name, summary in COMMANDS[folder].items())]
    return "\n".join([*lines, "", "`t2s COMMAND --help` describes one command."])


def version() -> str:
    """The installed version of t2s."""
    from importlib.metadata import version

    return f"t2s {version('t2s')}"
