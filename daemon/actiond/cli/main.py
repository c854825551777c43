"""`actiond`: a lazy group of commands, and errors in one line that say what to do.

A command is imported when it is called, so `actiond --help` stays quick. Exit codes: 0 done; 1 something is
wrong, and the line says what; 2 a wrong setting, option or configuration file; 3 the database does not answer; 4 the
schema does not fit; 70 a bug of actiond; 75 stopped, but a handler had to be left behind. `doctor`: 1 a warning, 2 an
error. `config diff`: 1 a difference.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from io import StringIO
from types import TracebackType
from typing import Any

import click

from actiond.cli import say
from actiond.rules.redaction import redact
from actiond.words.errors import ActiondError, AuthorError, OperatorError

#: name -> (module, help). The help stands here so that listing the commands imports none of them.
COMMANDS = {
    "run": ("run", "Run the daemon."),
    "dev": ("dev", "Run it on a private durable Postgres, reloading processors when their files change."),
    "demo": ("demo", "Watch real files become real outcomes on a private Postgres."),
    "new": ("new", "Write a new processor and its test, to begin with."),
    "migrate": ("migrate", "Bring the schema up to date."),
    "enqueue": ("enqueue", "Ask for work: one action, or one for each line of a file."),
    "plan": ("plan", "Mass actions: rows of a query become actions of a processor."),
    "schedule": ("schedule", "Cron and intervals: when to wake a processor or insert an action."),
    "subscription": ("subscription", "Which processors hear of which events."),
    "wake": ("wake", "Tell processors to look again."),
    "status": ("status", "What is waiting, running, failing; the daemons; problems."),
    "ls": ("ls", "List actions."),
    "show": ("show", "One action: its row, its runs, its history."),
    "failures": ("failures", "The latest failures."),
    "errors": ("errors", "Failures grouped by what is the same in their errors."),
    "stuck": ("stuck", "Actions that do not move: lost, running for long, due for long."),
    "stats": ("stats", "How much, how well, how fast, for each processor or by hour."),
    "history": ("history", "What happened to one action, or the latest changes of all."),
    "feed": ("feed", "What becomes of actions: each outcome once, from a position on."),
    "top": ("top", "A live screen of processors, rates, ages and problems."),
    "explain": ("explain", "Why is this row not running?"),
    "doctor": ("doctor", "Is the system healthy? What is wrong, why it matters, and what helps."),
    "cancel": ("cancel", "End actions for good, also running ones."),
    "hold": ("hold", "Keep actions from running until they are released."),
    "release": ("release", "Let held or canceled actions go on as planned."),
    "retry": ("retry", "Try again what has failed."),
    "run-now": ("run_now", "Run these next."),
    "pause": ("pause", "Claim nothing more of a processor, or of all."),
    "resume": ("resume", "Claim again."),
    "flag": ("flag", "Feature flags: switch on and off what asks for them."),
    "set": ("set", "Override a knob of a processor."),
    "config": ("config", "Overrides, schedules and plans as a file: export, diff, import."),
    "check": ("check", "Check what must always hold; reads only."),
    "torture": ("torture", "Check the promise on this machine, by killing everything."),
    "deploy": ("deploy", "Print or write what makes a host run the daemon: systemd units."),
    "processors": ("processors", "The policy of each processor, and where each value comes from."),
}


class LazyGroup(click.Group):
    """Knows its commands by name and imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"actiond.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="actiond", message="actiond %(version)s")
def cli() -> None:
    """INSERTed Postgres rows become work that gets done, with a record of every outcome."""


def main(arguments: list[str] | None = None) -> Any:
    """The console script."""
    sys.excepthook = _bug
    for each in sys.argv[1:] if arguments is None else arguments:
        if not _is_text(each):
            return _say(f"an argument is no UTF-8: {each!r}", 2)
    try:
        return cli.main(arguments, prog_name="actiond", standalone_mode=False) or 0
    except click.exceptions.Abort:
        return _say("stopped", 130)
    except click.ClickException as wrong:
        wrong.show(shown := StringIO())  # it quotes what was written, maybe a DSN
        say.block(redact(shown.getvalue()), err=True, nl=False)
        return wrong.exit_code
    except OperatorError as wrong:
        return _say(str(wrong), wrong.exit_code)
    except (AuthorError, ActiondError) as wrong:
        return _say(str(wrong), 1)
    except ExceptionGroup as group:  # out of the tasks of the daemon
        said, bugs = group.split(ActiondError)
        if bugs is not None:
            raise
        assert said is not None
        return _say("; ".join(dict.fromkeys(map(str, _leaves(said)))), 1)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has gone, as in `actiond ls | head`
        return 0


def _is_text(argument: str) -> bool:
    """Other bytes arrive as halves of surrogate pairs, which neither the database nor a terminal takes."""
    return not any("\ud800" <= c <= "\udfff" for c in argument)


def _leaves(group: ExceptionGroup[Exception]) -> list[Exception]:
    return [
        leaf for each in group.exceptions for leaf in (_leaves(each) if isinstance(each, ExceptionGroup) else [each])
    ]


def _bug(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
    """What Python would print of an error nobody expected, without secrets."""
    say.block(redact("".join(traceback.format_exception(kind, error, frames))), err=True, nl=False)


def _say(line: str, code: int) -> int:
    say.line(f"actiond: {redact(line)}", err=True)
    return code
