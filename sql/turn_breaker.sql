-- turn_breaker: from now on the breaker of a processor stands so.
--   $1 processor text, $2 at timestamptz: when it was read, $3 recent text (+ and -),
--   $4 left_s float8: of the pause, counted from then (NULL = closed), $5 failed probes int, $6 run id of the probe
--   returns nothing
--   called by: brake_store.turn, in a transaction that holds the lock of slots
insert into actiond.brake as b (processor, recent, opened_at, open_until, failed_probes, probe_run)
values ($1, $3, case when $4::float8 is not null then $2::timestamptz end,
        $2::timestamptz + $4::float8 * interval '1 second', $5, $6)
    on conflict (processor) do update
   set recent = excluded.recent, opened_at = case when excluded.open_until is not null
                                                  then coalesce(b.opened_at, excluded.opened_at) end,
       open_until = excluded.open_until, failed_probes = excluded.failed_probes, probe_run = excluded.probe_run
