"""Every line the daemon prints: its level, its name, its fields, and when it is printed.

A log line is an event that happened, in the past tense, with plain fields: code prints it as
`log.info(LogLine.DAEMON_READY, daemon_id=7)`, operators search for its name, tests wait for it, the manual is
made from this file. Nothing the daemon prints has another name; only authors of processors choose their own.

Fields carry their unit in the name (`took_s`), counts are bare plurals (`rows`). A field with nothing to say is
left out. How a line is written, `once per processor`, too: see log_line.py.
"""

from __future__ import annotations

from actiond.words.log_line import Line


class LogLine(Line):
    """One line of the log. Its value is its name."""

    # The life of a daemon
    DAEMON_STARTING = ("info daemon_starting(version, python, pid)", "The settings are read, nothing is connected yet.")
    DAEMON_REGISTERED = (
        "info daemon_registered(daemon_id, host, lease_s)",
        "The daemon has its own row and id; from now on others watch whether it lives.",
    )
    CLAIM_MODE = (
        "info claim_mode(server_version, mode, reason)",
        "The server was asked what it can do, and the daemon chose how it claims and how it is woken.",
    )
    HOST_UNVERIFIED = (
        "warning host_unverified(connection, hosts) once per connection",
        "A connection leads to another host without sslmode=verify-full, so whoever answers there is believed.",
    )
    DAEMON_READY = (
        "info daemon_ready(daemon_id, processors, took_s)",
        "Every processor is declared and rows are being claimed.",
    )
    SIGNAL_RECEIVED = ("info signal_received(signal)", "A signal arrived that the daemon obeys.")
    DAEMON_RELOADED = (
        "info daemon_reloaded(processors, took_s)",
        "A reload was asked for and is done: overrides and processors were read again.",
    )
    DAEMON_STOPPING = ("info daemon_stopping(reason)", "No more rows are claimed from now on.")
    DRAIN_STARTED = (
        "info drain_started(batches, actions, timeout_s)",
        "Batches were running when the daemon was told to stop; they are given time to finish.",
    )
    DRAIN_EXPIRED = (
        "warning drain_expired(batches, actions)",
        "The time to finish is over; the handlers still running are canceled and their rows given back.",
    )
    DAEMON_STOPPED = ("info daemon_stopped(exit_code, ran_s, reason)", "The last line of a daemon.")
    SCHEMA_MIGRATED = (
        "info schema_migrated(migrations, took_s)",
        "Tables or functions of the schema were brought up to date.",
    )

    # Connections and the claim on being alive
    CONNECTION_LOST = (
        "warning connection_lost(connection, error, retry_in_s) once per error",
        "A connection to Postgres broke or could not be made; the daemon keeps trying. Several may have one reason.",
    )
    CONNECTION_RESTORED = ("info connection_restored(connection, down_s)", "A lost connection is back.")
    LISTENER_LOST = (
        "warning listener_lost(error) once per error",
        "Notifications do not arrive, for this reason; until they do, rows are found by looking every few seconds.",
    )
    LISTENER_RESTORED = (
        "info listener_restored(down_s)",
        "Notifications arrive again, and every processor has looked once for what it missed.",
    )
    LEASE_LOST = (
        "error lease_lost(daemon_id, behind_s, batches, actions)",
        "The daemon could not prove in time that it lives; its handlers are canceled, their results dropped.",
    )
    LOOP_BLOCKED = (
        "warning loop_blocked(processor, run_id, action_id, blocked_s, where, frames) once per processor, where",
        "Some code held the event loop, so that nothing else could run: `where` is the line, `frames` the way to it.",
    )

    # Dead daemons and their rows
    PEER_DIED = (
        "warning peer_died(peer_id, host, silent_s, evidence)",
        "Another daemon was found dead, by its free lock or by its expired lease.",
    )
    ROWS_RESCUED = (
        "warning rows_rescued(peer_id, rows, quarantined, took_s)",
        "Rows claimed by a dead daemon are pending again, except those that too many daemons died on.",
    )
    ACTIONS_RELEASED = (
        "info actions_released(rows, actions)",
        "Actions that waited for others may go on, or were canceled because what they waited for cannot come.",
    )
    ROW_QUARANTINED = (
        "error row_quarantined(processor, action_id, crashes)",
        "Too many daemons died on this action; it failed for good.",
    )

    # Waking up
    NOTIFICATIONS_PILE_UP = (
        "warning notifications_pile_up(full) once per daemon",
        "A session that listens inside a transaction holds up the notifications of the server; at 1 commits fail.",
    )
    WAKE_RECEIVED = ("debug wake_received(processors)", "A notification said: look again.")
    DOORBELL_ARMED = (
        "debug doorbell_armed(processor, sleep_s)",
        "A processor has nothing to do and asks writers to ring.",
    )

    # Processors and their policy
    PROCESSOR_REGISTERED = (
        "info processor_registered(processor, source, kind)",
        "A processor was found and this daemon serves it.",
    )
    PROCESSOR_RELOADED = (
        "info processor_reloaded(processor, source)",
        "The file of a processor changed and its new code serves from the next batch on.",
    )
    PROCESSOR_RELOAD_FAILED = (
        "error processor_reload_failed(source, error)",
        "The file of a processor changed but does not load; the code from before keeps serving.",
    )
    PROCESSOR_UNKNOWN = (
        "warning processor_unknown(processor, rows) once per processor",
        "Rows wait for a processor that no daemon serves.",
    )
    PROCESSOR_POLICY_CHANGED = (
        "info processor_policy_changed(processor, knob, before, after)",
        "An operator's override changed a knob of a processor, from its next batch on.",
    )
    PROCESSOR_POLICY_REFUSED = (
        "error processor_policy_refused(processor, error) once per processor",
        "An override makes no sense on this host; until it is corrected all is as it was, or the rows wait.",
    )
    FLAG_SWITCHED = (
        "info flag_switched(flag, enabled, processors)",
        "A feature flag was switched; rows of these processors are claimed from now on, or wait.",
    )

    # Resources
    RESOURCE_OPENED = (
        "info resource_opened(resource, source, took_s)",
        "What handlers share was made ready: before the first row is claimed, or by a reload.",
    )
    RESOURCE_CLOSED = (
        "info resource_closed(resource, took_s)",
        "It was closed: at the stop, or when the last call of code that a reload replaced had ended.",
    )
    RESOURCE_FAILED = (
        "error resource_failed(resource, error)",
        "A resource could not be closed in time or without an error, or it ended by itself; then the daemon stops.",
    )
    BREAKER_OPENED = (
        "warning breaker_opened(processor, failed, outcomes, pause_s)",
        "Too many of a processor's latest outcomes were failures; its rows wait, uncharged, until a probe succeeds.",
    )
    BREAKER_PROBES = (
        "info breaker_probes(processor, run_id)",
        "The pause of an open breaker is over and one row was claimed, to see whether the other side answers again.",
    )
    PROBE_FAILED = (
        "warning probe_failed(processor, failed_probes, pause_s)",
        "The probe of an open breaker failed, uncharged; the next one goes after a longer pause.",
    )
    BATCH_SIZE_CHANGED = (
        "info batch_size_changed(processor, rows, was, reason, took_s, failed) once per processor",
        'With batch_size="auto": batches were slow or failing and get fewer rows, or that was in vain.',
    )
    BREAKER_CLOSED = (
        "info breaker_closed(processor, failed_probes)",
        "A probe succeeded: the rows of the processor are claimed again.",
    )

    # Old rows
    OLD_ROWS_DELETED = (
        "info old_rows_deleted(actions)",
        "A walk through all actions deleted what was older than the retention of its processor.",
    )

    # Schedules
    SCHEDULE_FIRED = (
        "info schedule_fired(schedule, processor, slot, late_s, action_id)",
        "A slot of a schedule was due: an action was inserted, or the processor woken.",
    )
    SCHEDULE_SKIPPED = (
        "warning schedule_skipped(schedule, processor, slots, reason, first_slot, action_id) once per schedule, reason",
        "Slots did not fire: `missed`, as no daemon was up in time, or `overlap`, as that action was still open.",
    )
    SCHEDULE_BROKEN = (
        "error schedule_broken(schedule, processor, error) once per schedule, processor",
        "A schedule cannot fire until somebody corrects its row; its column `error` says the same.",
    )

    # One batch
    BATCH_CLAIMED = (
        "debug batch_claimed(processor, run_id, actions)",
        "Rows were claimed together; a batch handler gets them in one call, others one by one.",
    )
    BATCH_ENDED = (
        "debug batch_ended(processor, run_id, took_s)",
        "Every action of a run has an outcome, or was given back; the outcomes are still to be written.",
    )
    BATCH_ISOLATED = (
        "warning batch_isolated(processor, run_id, actions, calls, culprits, undecided, took_s, error)",
        "A batch handler raised and was called again in halves; `culprits` made it raise alone, `error` is the first.",
    )
    ACTION_FAILED = (
        "error action_failed(processor, run_id, action_id, status, error, retries_left, retry_in_s)",
        "One attempt of an action failed; `status` says whether it comes back or that was the last.",
    )
    HANDLER_TIMED_OUT = (
        "error handler_timed_out(processor, run_id, action_id, timeout_s)",
        "A handler ran longer than its timeout and was canceled.",
    )
    HANDLER_RUNAWAY = (
        "error handler_runaway(processor, run_id, action_id, over_s) once per processor, run_id, action_id",
        "A handler goes on although it was canceled; it keeps its place until it ends.",
    )
    EXIT_IGNORED = (
        "error exit_ignored(error, where) once per where",
        "A task that a handler started wanted to end the process; its handler gets the exception, the daemon goes on.",
    )
    WORKER_STARTED = (
        "info worker_started(processor, worker_pid, took_s)",
        "A worker process has loaded its processor; it runs one action after the other.",
    )
    WORKER_DIED = (
        "error worker_died(processor, run_id, action_id, error)",
        "The worker process that ran this action died, and the action failed; the next one gets a new worker.",
    )
    WORKER_UNAVAILABLE = (
        "error worker_unavailable(processor, error) once per processor",
        "A worker process could not be started; its rows are tried again soon, uncharged.",
    )
    COROUTINE_NEVER_AWAITED = (
        "error coroutine_never_awaited(processor, run_id, action_id, coroutine)",
        "A handler made a coroutine and never awaited it, so that work was never done.",
    )
    AROUND_FAILED = (
        "error around_failed(processor, run_id, action_id, around, error) once per processor, around",
        "What is around a call could not be entered or left; the call and its outcomes are as if it were not there.",
    )
    FINALIZER_FAILED = (
        "error finalizer_failed(processor, run_id, error) once per processor",
        "The finalizer of a run raised or did not end in time; the outcomes of the run were saved before.",
    )
    CLAIMS_GIVEN_BACK = (
        "info claims_given_back(processor, run_id, rows, reason)",
        "Rows that were claimed but not started are pending again, uncharged.",
    )

    # Writing outcomes back
    OUTCOMES_FENCED = (
        "warning outcomes_fenced(processor, rows, actions)",
        "Outcomes came too late, for rows canceled, edited or rescued meanwhile; only history keeps them.",
    )
    OUTCOME_REFUSED = (
        "error outcome_refused(processor, run_id, action_id, sqlstate, error) once per processor, sqlstate",
        "The database refused what a handler wanted written; a failure that says so was written instead.",
    )
    OUTCOME_ANSWER_LOST = (
        "warning outcome_answer_lost(processor, rows, error) once per processor",
        "The connection broke before the database said whether outcomes were kept; they are sent again.",
    )
    ANSWER_RECOVERED = (
        "info answer_recovered(processor, run_id, rows)",
        "It is known now what became of a statement whose answer was lost.",
    )
    UNSAVED_OUTCOMES_FULL = (
        "error unsaved_outcomes_full(unsaved, unsaved_max, oldest_s) once per daemon",
        "Too many outcomes wait to be written; no more rows are claimed until the database takes them.",
    )

    # Being looked at
    HTTP_STARTED = ("info http_started(at)", "Metrics and health are served over HTTP at this address.")
    HTTP_FAILED = (
        "error http_failed(at, error)",
        "The HTTP server for metrics and health ended although the daemon goes on; work is not touched by it.",
    )
    BACKLOG_UNKNOWN = (
        "warning backlog_unknown(error) once per error",
        "The backlog could not be counted for a scrape; its metrics are left out until it can.",
    )
    LOG_ADAPTER_INVALID = (
        "warning log_adapter_invalid(adapter, error)",
        "The log adapter cannot be loaded; lines go to stderr alone.",
    )
    LOG_ADAPTER_FAILED = (
        "warning log_adapter_failed(error) once per daemon",
        "The log adapter raised an error at a line; stderr has that line.",
    )
    TRACING_STARTED = (
        "info tracing_started(provider)",
        "OpenTelemetry is installed and has a tracer provider: batches and actions get spans.",
    )

    # What libraries say
    LIBRARY_WARNED = (
        "warning library_warned(library, message) once per library, message",
        "A library the daemon uses logged a warning or worse, at the level of the line.",
    )
