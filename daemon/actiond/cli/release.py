"""actiond release."""

from __future__ import annotations

from actiond.cli.verb import verb_command
from actiond.words.status import Verb

command = verb_command(Verb.RELEASE, "Let held or canceled actions go on as they were planned.")
