"""actiond cancel."""

from __future__ import annotations

from actiond.cli.verb import verb_command
from actiond.words.status import Verb

command = verb_command(
    Verb.CANCEL, "End actions for good. What runs counts no more, from this moment; its handler can see it."
)
