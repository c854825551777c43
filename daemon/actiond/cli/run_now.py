"""actiond run-now."""

from __future__ import annotations

from actiond.cli.verb import verb_command
from actiond.words.status import Verb

command = verb_command(Verb.RUN_NOW, "Run these next: due now, before everything else of their processor.")
