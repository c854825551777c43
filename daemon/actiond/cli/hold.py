"""actiond hold."""

from __future__ import annotations

from actiond.cli.verb import verb_command
from actiond.words.status import Verb

command = verb_command(Verb.HOLD, "Keep actions from running until they are released. What runs counts no more.")
