"""actiond retry."""

from __future__ import annotations

from actiond.cli.verb import verb_command
from actiond.words.status import Verb

command = verb_command(Verb.RETRY, "Try again what has failed, now, without its error.")
