"""words/status: the table of transitions is complete, closed, and what settlement says is in it."""

from __future__ import annotations

from collections import defaultdict

from actiond.words.status import FINAL, TRANSITIONS, VERBS, Cause, Status, Verb

#: Causes that people bring about; the others are the daemon's.
BY_HAND = {Cause.HOLD, Cause.CANCEL, Cause.RELEASE}


def reachable(start: Status) -> set[Status]:
    found, ahead = set(), [start]
    while ahead:
        status = ahead.pop()
        if status not in found:
            found.add(status)
            ahead += [to for (before, _), to in TRANSITIONS.items() if before is status]
    return found


def test_every_status_can_be_reached_from_pending() -> None:
    assert reachable(Status.PENDING) == set(Status)


def test_every_cause_has_a_place() -> None:
    assert {cause for _, cause in TRANSITIONS} == set(Cause)


def test_a_completed_action_is_never_left() -> None:
    assert reachable(Status.COMPLETED) == {Status.COMPLETED}
    assert [cause for before, cause in TRANSITIONS if before is Status.COMPLETED] == []


def test_only_a_person_brings_back_what_is_final() -> None:
    causes = {cause for before, cause in TRANSITIONS if before in FINAL}
    assert causes == {Cause.CANCEL, Cause.RELEASE}
    assert {to for (before, _), to in TRANSITIONS.items() if before in FINAL} == {Status.CANCELED, Status.PENDING}


def test_only_a_claim_starts_an_action() -> None:
    assert [(before, cause) for (before, cause), to in TRANSITIONS.items() if to is Status.RUNNING] == [
        (Status.PENDING, Cause.CLAIM)
    ]


def test_the_daemon_changes_only_what_it_runs() -> None:
    assert {before for before, cause in TRANSITIONS if cause not in BY_HAND | {Cause.CLAIM}} == {Status.RUNNING}


def test_a_cause_leads_to_one_status_wherever_it_strikes() -> None:
    leads: defaultdict[Cause, set[Status]] = defaultdict(set)
    for (_, cause), to in TRANSITIONS.items():
        leads[cause].add(to)
    assert all(len(to) == 1 for to in leads.values())


def test_people_can_do_what_the_manual_says() -> None:
    assert {before for before, cause in TRANSITIONS if cause is Cause.HOLD} == {Status.PENDING, Status.RUNNING}
    assert {before for before, cause in TRANSITIONS if cause is Cause.CANCEL} == {
        Status.PENDING,
        Status.RUNNING,
        Status.HELD,
        Status.FAILED,
    }
    assert {before for before, cause in TRANSITIONS if cause is Cause.RELEASE} == {
        Status.HELD,
        Status.FAILED,
        Status.CANCELED,
    }


def test_a_verb_takes_only_what_its_cause_leads_out_of() -> None:
    for verb, (cause, takes) in VERBS.items():
        staying = {Status.PENDING} if verb is Verb.RUN_NOW else set()
        assert takes - staying <= {before for before, by in TRANSITIONS if by is cause}, verb
        assert Status.COMPLETED not in takes


def test_every_verb_has_its_place_and_every_change_by_hand_its_verb() -> None:
    assert set(VERBS) == set(Verb)
    by_verb = {(status, cause) for cause, takes in VERBS.values() for status in takes}
    assert {change for change in TRANSITIONS if change[1] in BY_HAND} <= by_verb


def test_nothing_changes_into_itself() -> None:
    assert [before for (before, _), to in TRANSITIONS.items() if before is to] == []


def test_a_running_action_can_always_be_taken_from_its_daemon() -> None:
    assert TRANSITIONS[Status.RUNNING, Cause.RESCUED] is Status.PENDING
    assert TRANSITIONS[Status.RUNNING, Cause.CANCEL] is Status.CANCELED
    assert TRANSITIONS[Status.RUNNING, Cause.HOLD] is Status.HELD


def test_words_are_small_letters() -> None:
    assert [word for word in (*Status, *Cause) if word != word.lower()] == []
