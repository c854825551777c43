"""Outcomes go back, until the database has confirmed them.

A settlement leaves memory only then, so a crash can repeat an action but cannot lose its outcome. What is
ready travels with the next claim in one statement. When the answer is lost the same outcomes are sent again:
those that had landed change nothing. When the database refuses a value, the row it belongs to is found by
bisection and gets a failure that says so; the others land. When even that is refused (somebody's trigger), the
row is set aside and tried again later: it stays claimed, and nobody else waits for it.

Too many unsaved settlements shut the gate: no more rows are claimed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from actiond.batch.run import Run
from actiond.batch.tally import Tally
from actiond.host.log import get_logger
from actiond.postgres.action_store import ActionStore, Answer, Claim, EndedRun, Parcel
from actiond.postgres.connection import Trouble, in_words, trouble
from actiond.rules.bisect import Bisection
from actiond.rules.bounds import Bounds
from actiond.rules.settlement import unstorable
from actiond.words.claimed import Settlement
from actiond.words.errors import AnswerLost
from actiond.words.log_lines import LogLine

PARCEL_MAX = 5_000  # outcomes in one statement
ASIDE_S = 30.0  # until an outcome is tried again when the database refuses even its failure

log = get_logger()


class WriteBack:
    """The outcomes of one processor on this daemon."""

    def __init__(
        self, store: ActionStore, processor: str, landed: Callable[[str, Sequence[Settlement]], None] = lambda *_: None
    ) -> None:
        self._store = store
        self._processor = processor
        self._landed = landed  # hears of outcomes, and of which processor they are, once they are committed
        self.tally = Tally()
        #: Hears of outcomes that are kept, and of the ends of runs, once both are committed.
        self.saved: Callable[[Sequence[Settlement], Sequence[EndedRun]], None] = lambda settlements, ended: None
        self._waiting: list[Settlement] = []
        self._ended: list[EndedRun] = []
        self._resent: set[int] = set()  # ids sent before, answer unknown
        self._late: list[Settlement] = []  # that did not land, for history
        self._aside: list[Settlement] = []
        self._ended_aside: list[EndedRun] = []  # of their runs: a run that has ended is never rescued
        self._aside_until_s = 0.0
        self._travelling = 0
        self._oldest_s = 0.0

    @property
    def waiting(self) -> int:
        """Outcomes (and ends of runs) that nobody is carrying yet."""
        return len(self._waiting) or len(self._ended)

    @property
    def unsaved(self) -> int:
        """Outcomes that the database has not confirmed."""
        return len(self._waiting) + self._travelling + len(self._aside)

    @property
    def oldest_s(self) -> float:
        """How long the oldest of them waits."""
        return time.monotonic() - self._oldest_s if self.waiting else 0.0

    @property
    def again_s(self) -> float | None:
        """Until what was set aside is tried again; None: nothing was."""
        return max(0.0, self._aside_until_s - time.monotonic()) if self._aside else None

    def add(self, settlements: Sequence[Settlement], run: Run) -> None:
        """Outcomes of one call; when nothing of the run is open, its end too."""
        if not self.waiting:
            self._oldest_s = time.monotonic()
        self._waiting += settlements
        if run.open == 0:
            aside = any(s.run_id == run.id for s in self._aside)
            (self._ended_aside if aside else self._ended).append(run.closed())

    async def send(self, claim: Claim | None, bounds: Bounds | None = None, batch: bool = False) -> Answer:
        """What waits, and this claim, in one statement; with `bounds` over all daemons, in one transaction.

        AnswerLost and errors of the connection leave the outcomes waiting, to be sent again.
        """
        if self._aside and time.monotonic() >= self._aside_until_s:
            self._waiting, self._aside = [*self._waiting, *self._aside], []
            self._ended, self._ended_aside = [*self._ended, *self._ended_aside], []
        parcel = self._take()
        try:
            if claim is not None and bounds is not None:
                answer = await self._store.step_within(parcel, claim, bounds, batch)
            else:
                answer = await self._store.step(parcel, claim)
        except BaseException as error:
            self._put_back(parcel, unknown=isinstance(error, AnswerLost))
            if isinstance(error, AnswerLost) and parcel:
                rows, why = len(parcel.settlements), in_words(error.__cause__ or error)
                log.warning(LogLine.OUTCOME_ANSWER_LOST, processor=self._processor, rows=rows, error=why)
            if trouble(error) is not Trouble.REFUSED or isinstance(error, AnswerLost) or not parcel:
                raise
            await self._bisect()
            return await self.send(claim, bounds, batch)
        await self._confirmed(parcel, answer)
        return answer

    def drop(self) -> int:
        """Forget everything: this daemon was declared dead, its outcomes are fenced."""
        dropped = len(self._waiting) + len(self._aside)
        self._waiting, self._ended, self._resent = [], [], set()
        self._aside, self._ended_aside = [], []
        return dropped

    def _take(self) -> Parcel:
        settlements, self._waiting = self._waiting[:PARCEL_MAX], self._waiting[PARCEL_MAX:]
        ended: list[EndedRun] = []
        if not self._waiting:  # the end of a run must not overtake its outcomes
            ended, self._ended = self._ended, []
        self._travelling = len(settlements)
        return Parcel(settlements, ended)

    def _put_back(self, parcel: Parcel, unknown: bool) -> None:
        self._travelling = 0
        self._waiting = [*parcel.settlements, *self._waiting]
        self._ended = [*parcel.ended, *self._ended]
        if unknown:
            self._resent.update(s.id for s in parcel.settlements)

    async def _confirmed(self, parcel: Parcel, answer: Answer) -> None:
        self._travelling = 0
        self._landed(self._processor, parcel.settlements)
        # A row that was sent twice may well have landed the first time and moved on since: nothing to report.
        late = [s for s in answer.fenced if s.id not in self._resent]
        gone = {s.id for s in late}
        kept = [s for s in parcel.settlements if s.id not in gone] if gone else parcel.settlements
        self.tally.landed(kept)
        self.saved(kept, parcel.ended)
        if self._resent:
            self._resent.difference_update(s.id for s in parcel.settlements)
        self._late += late
        if self._late:
            await self._note_late()

    async def _note_late(self) -> None:
        """For history. Should that fail it is tried with a later answer: this one may hold rows, which come first."""
        late, self._late = self._late, []
        try:
            ids = await self._store.note_fenced(late)
        except Exception as error:  # the boundary of a connection
            self._late = [*late, *self._late]
            log.warning(LogLine.CONNECTION_LOST, connection=self._processor, error=in_words(error), retry_in_s=0)
            return
        if ids:
            self.tally.fenced += len(ids)
            log.warning(LogLine.OUTCOMES_FENCED, processor=self._processor, rows=len(ids), actions=ids[:20])

    async def _bisect(self) -> None:
        """Some outcome cannot be stored: find it, replace it, save the rest."""
        parcel = self._take()
        search = Bisection(list(parcel.settlements))
        open_ = list(parcel.settlements)
        try:
            while (part := search.next()) is not None:
                try:
                    answer = await self._store.step(Parcel(part), None)
                except Exception as error:  # the boundary of a connection
                    if trouble(error) is not Trouble.REFUSED or isinstance(error, AnswerLost):
                        raise
                    if len(part) == 1:
                        await self._fall_back(part[0], error)
                        open_.remove(part[0])
                    search.refused()
                    continue
                search.accepted()
                kept = {s.id for s in part}
                open_ = [s for s in open_ if s.id not in kept]
                await self._confirmed(Parcel(part), answer)
        finally:
            aside = {s.run_id for s in self._aside}
            self._ended_aside += [run for run in parcel.ended if run.id in aside]
            self._put_back(Parcel(open_, [run for run in parcel.ended if run.id not in aside]), unknown=True)

    async def _fall_back(self, settlement: Settlement, error: Exception) -> None:
        try:
            fallback = Parcel([self._refused(settlement, error)])
            if not (await self._store.step(fallback, None)).fenced:
                self.tally.landed(fallback.settlements)
                self.saved(fallback.settlements, ())
            self._landed(self._processor, fallback.settlements)
        except Exception as again:  # the boundary of a connection
            if trouble(again) is not Trouble.REFUSED or isinstance(again, AnswerLost):
                raise
            self._aside.append(settlement)
            self._aside_until_s = time.monotonic() + ASIDE_S

    def _refused(self, settlement: Settlement, error: Exception) -> Settlement:
        log.error(
            LogLine.OUTCOME_REFUSED,
            processor=self._processor,
            run_id=settlement.run_id,
            action_id=settlement.id,
            sqlstate=getattr(error, "sqlstate", None),
            error=in_words(error),
        )
        return unstorable(settlement, in_words(error))
