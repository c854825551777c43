"""A processor in any language: a program that reads an action as one line of JSON and answers with one.

    insert into actiond.processor (name, uses, config)
    values ('resize', 'command', '{"argv": ["/usr/bin/perl", "/srv/app/resize.pl"]}');

What a line holds stands in answers. No shell is ever involved. `per` is "batch" (the default) or "row".

    batch   one process for each batch: it reads lines until its input ends. Starting it is paid for once in a batch,
            nothing is kept in it over batches, a new version of the program is used from the next batch on, and an
            idle processor has no process
    row     one process for each action: one line, then the end of its input

With `window` 1, the default, a line is sent when the one before is answered, so that it is known whose line it was when
the program ends, hangs or prints what is no answer: that row has failed, and a new process goes on with the next.
With a larger one so many lines may be unanswered; the rows in question run again one at a time, to find the one.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
from pydantic import Field, model_validator

from actiond import KEEP_ALIVE, Action, Batch, Failure, Processor, batch_processor, processor
from actiond_processors import answers
from actiond_processors.config import Config, Hide, TextOrSecret, Timeout, read, revealed
from actiond_processors.in_turn import in_turn
from actiond_processors.program import Program, ProgramEnded, TooMuch

BATCH_SIZE = 50
END_S = 5.0  # for a program to end when its input has


class CommandConfig(Config):
    """Fields of the config of `command`."""

    argv: list[str] = Field(min_length=1, description="The program and its arguments; no shell.")
    directory: str | None = Field(None, description="Where it runs. Default: the working directory of the daemon.")
    inherit: list[str] = Field(
        ["PATH", "HOME", "LANG", "LC_ALL", "TZ"],
        description="Variables of the daemon that the program gets; no others.",
    )
    environment: dict[str, TextOrSecret] = Field({}, description='More variables: text, or {"secret": "name"}.')
    per: Literal["batch", "row"] = Field("batch", description="One process for each batch, or for each row.")
    window: int = Field(1, ge=1, le=10_000, description="Lines that may be unanswered, with `per` batch.")
    timeout: Timeout = Field(30.0, description="For each answer; then the program is killed.")
    line_max: int = Field(1 << 20, ge=100, le=64 << 20, description="Bytes of one answer, at most.")

    @model_validator(mode="after")
    def _can_be_run(self) -> CommandConfig:
        if any("\0" in each for each in self.argv) or not self.argv[0]:
            raise ValueError("argv begins with a program, and holds no NUL")
        if self.directory is not None and not Path(self.directory).is_dir():
            raise ValueError(f"directory: there is no folder {self.directory}")
        for name, value in self.environment.items():
            if not name or "=" in name or "\0" in name + revealed(value):
                raise ValueError(f"environment: {name!r} is no variable")
        if self.per == "row" and self.window != 1:
            raise ValueError('window is for "per": "batch"')
        self.program()
        return self

    def variables(self) -> dict[str, str]:
        """The environment of the program."""
        inherited = {name: os.environ[name] for name in self.inherit if name in os.environ}
        return inherited | {name: revealed(value) for name, value in self.environment.items()}

    def program(self) -> str:
        """Its path. ValueError if there is none."""
        name = self.argv[0]
        if "/" in name and not name.startswith("/"):
            raise ValueError(f"argv: {name} is neither a name nor a whole path")
        found = shutil.which(name, path=self.variables().get("PATH", os.defpath))
        if found is None:
            raise ValueError(f"argv: there is no program {name} that can be run")
        return found


def make(name: str, config: dict[str, Any]) -> Processor:
    """From a row of actiond.processor. ProcessorInvalid names the field that is wrong."""
    runner = Runner(read(CommandConfig, name, config))
    timeout_s = runner.config.timeout

    async def row(action: Action[Any]) -> None:
        await runner.run(deque([action]))

    async def batch(rows: Batch[Any]) -> None:
        with in_turn(rows) as begun:
            await runner.run(deque(rows), begun)

    if runner.config.per == "row":
        return processor(name, timeout=f"{timeout_s + 2 * END_S:.3f} s")(row)
    # Its own deadlines are shorter: this much time takes a program that gives each answer just in time.
    return batch_processor(name, batch_size=BATCH_SIZE, timeout=f"{BATCH_SIZE * timeout_s + 60:.3f} s")(batch)


class Blamed(Exception):
    """The program is of no more use; the text says why."""


class Runner:
    """Runs the program for some actions, as often as it takes."""

    def __init__(self, config: CommandConfig) -> None:
        self.config = config
        self._hide = Hide(config)
        self._argv = [config.program(), *config.argv[1:]]

    async def run(self, waiting: deque[Action[Any]], begun: Any = lambda action: None) -> None:
        """Until each has an outcome."""
        alone: set[int] = set()  # they were with others when a program ended: one at a time
        while waiting:
            window = 1 if waiting[0].id in alone else self.config.window
            sent: dict[int, Action[Any]] = {}
            try:
                await self._one_process(waiting, sent, window, alone, begun)
            except Blamed as why:
                if len(sent) == 1:
                    (culprit,) = sent.values()
                    culprit.fail(self._hide(str(why)))
                else:
                    alone.update(sent)
                    waiting.extendleft(reversed(sent.values()))

    async def _one_process(
        self, waiting: deque[Action[Any]], sent: dict[int, Action[Any]], window: int, alone: set[int], begun: Any
    ) -> None:
        program = await self._start()
        answered: set[int] = set()
        try:
            while waiting or sent:
                while waiting and len(sent) < window and (window == 1 or waiting[0].id not in alone):
                    action = waiting.popleft()
                    if not action.withdrawn:
                        begun(action)
                        sent[action.id] = action
                        program.send(answers.told(action))
                if not waiting:
                    program.end_input()
                if not sent:
                    break
                with self._in_time(program):
                    self._mark(sent, answered, await program.line())
            await program.finish(END_S)
        finally:
            await program.kill()

    async def _start(self) -> Program:
        config = self.config
        try:
            return await Program.start(self._argv, config.directory, config.variables(), config.line_max, self._hide)
        except OSError as wrong:  # since it was looked for: no row is to blame
            raise Failure(f"{self._argv[0]} cannot be started: {wrong.strerror}", KEEP_ALIVE) from None

    @contextmanager
    def _in_time(self, program: Program) -> Iterator[None]:
        try:
            with anyio.fail_after(self.config.timeout):
                yield
        except TimeoutError:
            raise Blamed(f"no answer within {self.config.timeout:g} s{program.said}") from None
        except ProgramEnded as ended:
            raise Blamed(f"no answer: {ended}") from None
        except (TooMuch, answers.Garbage) as wrong:
            raise Blamed(f"this is no answer: {wrong}{program.said}") from None

    def _mark(self, sent: dict[int, Action[Any]], answered: set[int], line: bytes) -> None:
        answer = answers.answer_of(answers.parsed(line))
        if answer.id in answered:
            return  # the first answer counts, and a second one is not the fault of who has its turn now
        if answer.id not in sent:
            raise answers.Garbage(f"it tells of action {answer.id}, which was not asked about")
        answers.mark(sent[answer.id], answer, self._hide)
        del sent[answer.id]
        answered.add(answer.id)
