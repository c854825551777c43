"""The mutants: one guard taken out of a statement, a function of the database, or a class; and who must notice.

`pytest --mutant NAME` puts one in place for that run of the tests (see tests/conftest.py). A guard that is not
found is an error: the text has moved on, and so must this file.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import anyio
import asyncpg

from actiond.batch import process_call
from actiond.batch.going_back import GoingBack
from actiond.batch.suspects import Suspects
from actiond.batch.workers import Workers
from actiond.batch.write_back import WriteBack
from actiond.host import worker_process
from actiond.host.worker_process import WorkerProcess
from actiond.loops.bell import Bell
from actiond.loops.policy_loop import PolicyLoop
from actiond.loops.processor_loop import ProcessorLoop
from actiond.postgres import migrate, statements
from actiond.postgres.presence import Presence
from actiond.rules.watermark import Watermark
from actiond.service import drain
from actiond.service.hearing import Hearing
from actiond.words.errors import AnswerLost, WorkerDied
from mutants.statements import BROKEN


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is broken, and the test that turns red."""

    what: str
    apply: Callable[[], None]
    noticed_by: str


def _statement(name: str, guard: str, instead: str) -> Callable[[], None]:
    def apply() -> None:
        sound = statements._text
        text = sound(name)
        assert text.count(guard) == 1, f"sql/{name}.sql has no {guard!r} any more"
        statements._text = lambda asked: text.replace(guard, instead) if asked == name else sound(asked)

    return apply


def _function(guard: str, instead: str) -> Callable[[], None]:
    def apply() -> None:
        sound = migrate.files_of

        def files_of(*arguments):
            *numbered, functions = sound(*arguments)
            assert functions.text.count(guard) == 1, f"sql/functions has no {guard!r} any more"
            broken = migrate.Migration(0, functions.name, functions.text.replace(guard, instead))
            return [*numbered, broken]

        migrate.files_of = files_of

    return apply


def _latch_cleared_after_the_look() -> None:
    async def wait(self, at_most_s=None):
        self._rung = anyio.Event()  # whatever rang during the look is forgotten
        with anyio.move_on_after(at_most_s):
            await self._rung.wait()
        return self._rung.is_set()

    Bell.wait = wait


def _no_closing_look() -> None:
    sound = ProcessorLoop._sleep_s

    async def sleep_s(self, held):
        answer = await sound(self, held)
        return None if answer == 0.0 and self._doorbell.holds(self.name) else answer

    ProcessorLoop._sleep_s = sleep_s


def _reconnect_without_a_look() -> None:
    sound = Hearing.session

    def session(self, up, why):
        look_again, self.look_again = self.look_again, lambda: None
        sound(self, up, why)
        self.look_again = look_again

    Hearing.session = session


def _close_instead_of_terminate() -> None:
    sound = Presence._live
    asyncpg.Connection.terminate = lambda connection: None

    async def live(self):
        try:
            await sound(self)
        except Exception:
            if self._session is not None:
                await self._session.connection.close()  # waits for a server that does not answer
            raise

    Presence._live = live


def _worker_outlives_its_timeout() -> None:
    WorkerProcess.kill = lambda worker: None


def _worker_ends_alone() -> None:
    worker_process.os = SimpleNamespace(**{**vars(os), "killpg": os.kill})


def _death_before_the_beginning_is_charged() -> None:
    process_call.NotBegun = WorkerDied


def _hungry_worker_is_kept() -> None:
    sound = process_call._fits

    def fits(answer, request):
        answer.pop("spent", None)
        return sound(answer, request)

    process_call._fits = fits


def _old_code_is_kept() -> None:
    sound, first = Workers.lent, {}
    Workers.lent = lambda workers, which, calls: sound(
        workers, lambda: first.setdefault((id(workers), which().name), which()), calls
    )


def _outcomes_forgotten(when: type[BaseException]) -> Callable[[], None]:
    """By a write-back that ends so."""

    def apply() -> None:
        sound = WriteBack._put_back

        def put_back(self, parcel, unknown):
            if isinstance(sys.exc_info()[1], when):
                self._travelling = 0
            else:
                sound(self, parcel, unknown)

        WriteBack._put_back = put_back

    return apply


def _answer_lost_with_its_note() -> None:
    async def note_late(self):
        late, self._late = self._late, []
        await self._store.note_fenced(late)

    WriteBack._note_late = note_late


def _run_of_nobody_stays_open() -> None:
    async def recover(self):
        rows = await self._store.recover(self._lost_run)
        run_id, self._lost_run = self._lost_run, 0
        if rows:
            self.crew.add(run_id, rows)

    ProcessorLoop._recover = recover


def _given_back_once() -> None:
    sound = GoingBack.put
    GoingBack.put = lambda self, *what, **more: None if sys.exc_info()[1] is not None else sound(self, *what, **more)


def _suspects_side_by_side() -> None:
    def take(self, run_id, start):
        start()
        return True

    Suspects.take = take


def _nothing_given_back_at_the_end() -> None:
    async def give_back(loop):
        loop.crew._empty()

    drain._give_back = give_back


def _any_settlement_fits() -> None:
    process_call._fits = lambda answer, request: True


_STEP, _TRANSITIONS = "tests/database/test_step.py::", "tests/database/test_transitions.py::"
_SCHEDULES = "tests/database/test_schedules.py::"
_RESCUE, _DOORBELL = "tests/database/test_rescue.py::", "tests/database/test_doorbell.py::"
_BRAKES, _LOOKS = "tests/database/test_brakes.py::", "tests/database/test_order_of_looks.py::"
_FOUND = "tests/simulation/test_found.py::"
_WORLDS = "tests/simulation/test_simulation.py::test_in_every_world_all_rows_end_once_and_nothing_is_left"
_BULK, _WORKERS = "tests/database/test_bulk.py::", "tests/pure/test_workers.py::"

MUTANTS: dict[str, Mutant] = {
    "no_fence": Mutant(
        "an outcome lands wherever its action is",
        _statement(*BROKEN["no_fence"]),
        _STEP + "test_run_and_daemon_and_status_must_each_be_right",
    ),
    "fence_by_status_only": Mutant(
        "an outcome lands while the row is pending, whoever holds it",
        _statement(*BROKEN["fence_by_status_only"]),
        _STEP + "test_run_and_daemon_and_status_must_each_be_right",
    ),
    "attempts_counted_late": Mutant(
        "an attempt is not counted at the claim, so a row that kills its daemon is new for ever",
        _statement("step", "attempts = a.attempts + 1", "attempts = a.attempts"),
        _STEP + "test_a_claim_carries_what_the_processor_needs",
    ),
    "outcomes_not_in_id_order": Mutant(
        "outcomes are written in the order they come, beside an operator who updates in id order",
        _statement("step", "   order by o.id),\ndone as", "   order by o.id desc),\ndone as"),
        _STEP + "test_an_operator_who_updates_in_id_order_never_deadlocks_with_outcomes",
    ),
    "rescue_without_token": Mutant(
        "a rescued row keeps its fence",
        _statement("rescue", "claimed_by = 0, run_id = nextval('actiond.run_id_seq'),", "claimed_by = 0,"),
        _RESCUE + "test_all_open_rows_of_a_dead_daemon_come_back_and_are_charged_a_crash",
    ),
    "runs_ended_by_anybody": Mutant(
        "a daemon that was given up ends the runs of its old id, and nobody rescues their rows",
        _statement("step", "r.id = e.id and r.daemon = $1 and", "r.id = e.id and"),
        _STEP + "test_a_daemon_under_a_new_id_does_not_end_the_runs_of_its_old_one",
    ),
    "held_children_do_not_count": Mutant(
        "a parent goes on while a child of it is held",
        _statement("release", "c.status in ('pending', 'held')", "c.status in ('pending')"),
        "tests/database/test_families.py::test_a_child_that_is_open_in_any_way_keeps_its_parent_waiting",
    ),
    "fence_kept_on_hold": Mutant(
        "hold and release leave the claim as it was",
        _function(
            "    new.claimed_by  := 0;\n    new.run_id      := nextval('actiond.run_id_seq');\n",
            "",
        ),
        _TRANSITIONS + "test_a_row_that_is_stopped_and_released_during_a_run_does_not_hear_that_run",
    ),
    "bulk_verb_forgets_its_place": Mutant(
        "a bulk verb begins each chunk from the beginning",
        _function("jsonb_build_object('reached', found_in.reached,", "jsonb_build_object('reached', 0,"),
        _BULK + "test_rows_that_fail_again_meanwhile_are_not_taken_twice",
    ),
    "bulk_verb_acts_on_what_it_once_found": Mutant(
        "a bulk verb does not look again at a row that it had to wait for",
        _function(" and (act.statuses is null or f.was = any(act.statuses))", ""),
        _BULK + "test_a_row_that_no_longer_matches_when_its_turn_comes_is_left_alone",
    ),
    "bulk_verb_for_anybody": Mutant(
        "who may only insert has a daemon change what they may not change themselves",
        _function("not has_column_privilege(asked.created_by, 'actiond.action', 'status', 'update')", "false"),
        _BULK + "test_a_role_that_only_inserts_cannot_have_a_daemon_change_actions",
    ),
    "bell_taken_from_inserters": Mutant(
        "the insert trigger holds no lock, so a daemon falls asleep beside a commit under way",
        _statement(
            "doorbell_take",
            "pg_try_advisory_lock(actiond.lock_class('bell'), actiond.lock_key($1))",
            "pg_try_advisory_lock_shared(actiond.lock_class('bell'), actiond.lock_key($1))",
        ),
        _DOORBELL + "test_nobody_falls_asleep_while_an_insert_is_not_committed",
    ),
    "no_closing_look": Mutant(
        "a daemon that got the bell sleeps at once, without a last look",
        _no_closing_look,
        _DOORBELL + "test_no_row_is_slept_over_when_inserters_race_a_daemon_that_goes_to_sleep",
    ),
    "no_ring_on_leaving": Mutant(
        "a daemon that wakes up does not ring for its peers",
        _statement("doorbell_leave", "select pg_notify('actiond_wake', $1) from sentinel", "select $1 from sentinel"),
        _DOORBELL + "test_the_bell_is_held_by_one_and_when_that_one_leaves_it_rings_for_the_others",
    ),
    "latch_cleared_after_the_look": Mutant(
        "a bell that rings during a look is forgotten",
        _latch_cleared_after_the_look,
        "tests/pure/test_bell.py::test_a_ring_during_the_look_is_not_lost",
    ),
    "mark_is_the_last_word": Mutant(
        "a claim that came back short from the watermark is not followed by a look from the beginning",
        lambda: setattr(Watermark, "forget", lambda self, at_once=False: None),
        _LOOKS + "test_what_lies_behind_the_mark_is_found_before_anybody_sleeps",
    ),
    "nobody_asks_the_poll": Mutant(
        "while looks from the beginning are slow nobody looks for what lies behind the watermark",
        lambda: setattr(PolicyLoop, "_poll_soon", lambda self: None),
        _LOOKS + "test_where_looks_from_the_beginning_are_slow_the_poll_finds_it",
    ),
    "reconnect_without_a_look": Mutant(
        "after a lost session nobody looks for what was missed",
        _reconnect_without_a_look,
        "tests/pure/test_hearing.py::test_when_the_session_is_back_every_processor_looks_again",
    ),
    "slot_not_compared": Mutant(
        "a schedule moves on from wherever it stands, not from the slot that was computed",
        _statement("fire_schedule", "s.next_at is not distinct from $4", "coalesce($4, s.next_at) is not null"),
        _SCHEDULES + "test_of_two_that_computed_the_same_slot_one_fires",
    ),
    "edition_not_compared": Mutant(
        "a schedule fires what stood in its row before an edit",
        _statement("fire_schedule", "s.edition = $3", "s.edition >= 0 * $3"),
        _SCHEDULES + "test_an_edit_is_never_overtaken_by_what_stood_there_before",
    ),
    "schedule_waits_for_locks": Mutant(
        "a schedule whose row somebody holds holds up all the others",
        _statement("fire_schedule", "for no key update skip locked", "for no key update"),
        _SCHEDULES + "test_a_row_that_somebody_holds_is_left_for_later_and_holds_up_no_other",
    ),
    "broken_schedules_first": Mutant(
        "schedules in trouble are looked at before the others, a page of them at a time",
        _statement("due_schedules", "order by s.error is not null,", "order by s.error is null,"),
        _SCHEDULES + "test_a_page_full_of_wrong_rows_holds_up_no_other",
    ),
    "past_fires_when_switched_on": Mutant(
        "a schedule that is switched on again makes up for the time it was off",
        _function("and new.missed <> 'all' then", "and new.missed = 'none' then"),
        _SCHEDULES + "test_switched_off_nothing_fires_and_on_again_the_past_does_not",
    ),
    "tokens_taken_by_several": Mutant(
        "claims of a processor with a rate do not go one at a time",
        _statement(
            "lock_slots", "pg_try_advisory_xact_lock(actiond.lock_class('slots'), actiond.lock_key($1))", "$1 <> ''"
        ),
        _BRAKES + "test_daemons_that_claim_at_once_never_take_a_token_twice",
    ),
    "reports_over_each_other": Mutant(
        "of two reports to a breaker at once one is lost",
        _statement(
            "wait_for_slots", "pg_advisory_xact_lock(actiond.lock_class('slots'), actiond.lock_key($1))", "$1 <> ''"
        ),
        _BRAKES + "test_reports_of_several_daemons_open_one_breaker_and_none_is_lost",
    ),
    "everybody_probes": Mutant(
        "a probe that is under way keeps nobody from another",
        _statement("brake", "(r.finished_at is null or r.finished_at >", "(r.finished_at >"),
        _BRAKES + "test_while_it_is_open_nothing_is_claimed_and_then_one_probe_over_all_daemons",
    ),
    "breaker_undone": Mutant(
        "an operator closes a breaker while a claim is about to write back what it read",
        _function("perform pg_advisory_xact_lock(actiond.lock_class('slots'), actiond.lock_key(processor));", ""),
        _BRAKES + "test_a_claim_under_way_does_not_undo_what_an_operator_did",
    ),
    "worker_outlives_its_timeout": Mutant(
        "the worker of a call that was stopped goes on",
        _worker_outlives_its_timeout,
        _WORKERS + "test_a_timeout_ends_the_work_and_all_that_it_started",
    ),
    "worker_ends_alone": Mutant(
        "a worker is killed without what it started",
        _worker_ends_alone,
        _WORKERS + "test_a_timeout_ends_the_work_and_all_that_it_started",
    ),
    "death_before_the_beginning_is_charged": Mutant(
        "a row is charged for a worker that died before it had the row",
        _death_before_the_beginning_is_charged,
        _WORKERS + "test_a_row_that_was_not_begun_is_not_charged",
    ),
    "hungry_worker_is_kept": Mutant(
        "a worker that keeps too much memory runs the next row",
        _hungry_worker_is_kept,
        _WORKERS + "test_too_much_memory_is_an_error_of_that_action_and_its_worker_is_replaced",
    ),
    "old_code_is_kept": Mutant(
        "workers go on with the code from before a reload",
        _old_code_is_kept,
        _WORKERS + "test_code_that_was_read_again_gets_new_workers",
    ),
    "any_settlement_fits": Mutant(
        "what a worker answers is believed, whatever it is about",
        _any_settlement_fits,
        _WORKERS + "test_an_answer_about_another_row_is_not_believed",
    ),
    "outcomes_forgotten_when_cancelled": Mutant(
        "a write-back that is cancelled does not keep its outcomes",
        _outcomes_forgotten(asyncio.CancelledError),
        "tests/simulation/test_cancellation.py::test_a_write_back_that_is_cancelled_anywhere_loses_no_outcome",
    ),
    "outcomes_forgotten_with_their_answer": Mutant(
        "outcomes whose answer was lost are not sent again",
        _outcomes_forgotten(AnswerLost),
        _WORLDS,
    ),
    "answer_lost_with_its_note": Mutant(
        "a note for history that fails takes with it the rows that its answer brought",
        _answer_lost_with_its_note,
        _FOUND + "test_a_claim_is_not_lost_with_a_note_that_fails_after_it",
    ),
    "run_of_nobody_stays_open": Mutant(
        "a run that is recovered when a person has taken all of its rows is not ended",
        _run_of_nobody_stays_open,
        _FOUND + "test_a_recovered_run_whose_rows_a_person_took_away_is_ended",
    ),
    "given_back_once": Mutant(
        "rows that cannot be given back at once are forgotten",
        _given_back_once,
        _FOUND + "test_a_daemon_that_stops_tries_again_to_give_back_what_never_began",
    ),
    "suspects_side_by_side": Mutant(
        "runs of rows that daemons died on begin beside each other",
        _suspects_side_by_side,
        _WORLDS,
    ),
    "nothing_given_back_at_the_end": Mutant(
        "a daemon that stops keeps what never began",
        _nothing_given_back_at_the_end,
        _FOUND + "test_a_daemon_that_stops_tries_again_to_give_back_what_never_began",
    ),
    "close_instead_of_terminate": Mutant(
        "a dead connection is closed politely",
        _close_instead_of_terminate,
        "tests/database/test_presence.py::test_a_listener_whose_server_falls_silent_is_replaced",
    ),
}
