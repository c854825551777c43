-- step: write the outcomes of batches that ended, then claim the next batch. One statement, one fsync.
--
-- The outcomes come first, in id order, and the claim reads their count: without that dependency Postgres
-- claims first and writes outcomes last, and deadlocks with an operator who updates in id order. After the
-- outcomes nothing here waits for a row lock.
--
-- An outcome lands only where (id, run_id, claimed_by) still match and the row is still pending. `was` and `open`
-- are columns and not literals, or a plan cached on an empty table uses the wrong index. A run is ended only by
-- the daemon that it belongs to: one that was given up and registered anew would end runs whose rows it cannot
-- settle any more, and nobody rescues the rows of a run that has ended.
--
--   $1 daemon int
--   outcomes, one per action. The arrays from $4 on may stop early: what is missing is a clean completion.
--     $2 ids bigint[], $3 run ids bigint[], $4 kinds text[] (completed, failed, retried, deferred, waiting,
--     repeated, canceled),
--     $5 errors text[] (1,000 characters), $6 delays float8[] (seconds), $7 retries left int[] (NULL = as it is),
--     $8 results text[] (JSON), $9 states text[] (JSON), $10 noted bool[] (write history), $11 details text[]
--   runs that ended: $12 ids bigint[], $13 waits text[], $14 times text[] (log2 buckets, as '{1,2}')
--   the claim; limit 0 = none
--     $15 processor text, $16 limit int, $17 priority levels int2[], $18 watermark times timestamptz[],
--     $19 watermark ids bigint[], $20 run id (drawn before), $21 claim what was due at (NULL = now),
--     $22 may it be a suspect (a row some daemon died on)
--   returns at least one row; id NULL = nothing claimed; written = the ids that were, only if some were not
--   called by: action_store.step, transaction
with clock as materialized (select actiond.now() as at),
mine as materialized (
  select o.id, o.run_id, coalesce(o.kind, 'completed') as kind, o.error, o.delay, o.retries_left, o.result, o.state,
         o.noted, o.detail, 'pending'::text as was,
         case when o.kind in ('retried', 'deferred', 'repeated') then 'pending' when o.kind = 'waiting' then 'held'
              else coalesce(o.kind, 'completed') end as becomes,
         case when o.error is null then 'completed' else 'failed' end as at_last  -- somebody ended its repeating meanwhile
    from unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::float8[], $7::int[], $8::text[], $9::text[],
                $10::boolean[], $11::text[])
      as o (id, run_id, kind, error, delay, retries_left, result, state, noted, detail)
   order by o.id),
done as (
  update actiond.action a
     set status = case when o.kind = 'repeated' and a.repeat_every is null then o.at_last else o.becomes end,
         claimed_by = 0,
         error = case when o.kind in ('deferred', 'waiting') then a.error else o.error end,
         retries_left = case when o.kind = 'repeated' then null else coalesce(o.retries_left, a.retries_left) end,
         finished_at = case when o.becomes not in ('pending', 'held') or o.kind = 'repeated' and a.repeat_every is null
                            then clock.at end,
         next_eligible_at = case when o.kind = 'repeated' and a.repeat_every is null then a.next_eligible_at
                                 when o.kind = 'repeated'
                                 then actiond.next_slot(coalesce(a.repeat_slot, a.next_eligible_at), a.repeat_every,
                                                        a.repeat_missed, clock.at)
                                 when o.becomes = 'pending' then clock.at + o.delay * interval '1 second'
                                 else a.next_eligible_at end,
         repeat_slot = case when a.repeat_every is not null and o.kind <> 'repeated'
                            then coalesce(a.repeat_slot, a.next_eligible_at) end,
         result = coalesce(o.result::jsonb, a.result),
         state = coalesce(o.state::jsonb, a.state),
         waits_for = case when o.kind = 'waiting' then 'children' end,
         crashes = case when o.kind in ('deferred', 'waiting', 'repeated') then 0 else a.crashes end  -- it came on
    from mine o, clock
   where a.id = o.id and a.run_id = o.run_id and a.claimed_by = $1 and a.status = o.was
  returning a.id, a.attempts, a.status, o.run_id, o.kind, o.noted, o.detail, o.error),
noted as (
  insert into actiond.history (action_id, at, event, run_id, attempt, detail)
  select d.id, clock.at, case when d.kind in ('waiting', 'repeated') and d.status <> 'pending' then d.status else d.kind end, d.run_id, d.attempts, d.detail from done d, clock where d.noted),
ended as (
  update actiond.run r
     set completed = r.completed + e.completed, failed = r.failed + e.failed, retried = r.retried + e.retried,
         deferred = r.deferred + e.deferred, canceled = r.canceled + e.canceled,
         fenced = case when e.over then cardinality(r.actions) - r.returned - (r.completed + r.failed + r.retried
                    + r.deferred + r.canceled + e.completed + e.failed + e.retried + e.deferred + e.canceled)
                  else r.fenced end,
         finished_at = case when e.over then clock.at end,
         waits = coalesce(e.waits::int[], r.waits), times = coalesce(e.times::int[], r.times)
    from clock,
         (select x.id, sum(x.completed)::int as completed, sum(x.failed)::int as failed, sum(x.retried)::int as retried,
                 sum(x.deferred)::int as deferred, sum(x.canceled)::int as canceled, bool_or(x.over) as over,
                 max(x.waits) as waits, max(x.times) as times, true as open
            from (select d.run_id as id, count(*) filter (where d.kind = 'completed' or d.kind = 'repeated' and d.error is null) as completed,
                         count(*) filter (where d.kind = 'failed' or d.kind = 'repeated' and d.error is not null)
                           as failed,
                         count(*) filter (where d.kind = 'retried') as retried,
                         count(*) filter (where d.kind in ('deferred', 'waiting')) as deferred,
                         count(*) filter (where d.kind = 'canceled') as canceled,
                         false as over, null::text as waits, null::text as times
                    from done d group by d.run_id
                  union all
                  select c.id, 0, 0, 0, 0, 0, true, c.waits, c.times
                    from unnest($12::bigint[], $13::text[], $14::text[]) as c (id, waits, times)) x
           group by x.id) e
   where r.id = e.id and r.daemon = $1 and (r.finished_at is null) = e.open),
written as materialized (select array_agg(d.id) as ids, count(*) as n from done d),
seen as materialized (
  select x.id, x.crashes
    from written
   cross join unnest($17::int2[], $18::timestamptz[], $19::bigint[]) as l (level, at, id)
   cross join lateral (
     select a.id, a.crashes
       from actiond.action a
      where a.processor = $15 and a.priority = l.level and a.status = 'pending' and a.claimed_by = 0
        and (a.next_eligible_at, a.id) >= (l.at, l.id)
        and a.next_eligible_at <= (select coalesce($21::timestamptz, clock.at) from clock)
        and (a.crashes = 0 or $22::boolean)
      order by a.next_eligible_at, a.id
      limit $16
        for no key update skip locked) x
   limit $16),
first as (select s.id, s.crashes, s.crashes > 0 as suspect from seen s limit 1),
next as materialized (
  (select s.id from seen s, first where not first.suspect and s.crashes = 0)
  union all
  -- Suspects come apart: those of one crash in groups of about the square root of a batch, then one by one.
  -- So the culprit of a batch stands alone at the third death, and the innocent do not wait for hours.
  (select s.id from seen s, first
    where first.suspect and (s.id = first.id or first.crashes = 1 and s.crashes = 1)
    limit ceil(sqrt($16::int))::int)),
claimed as (
  update actiond.action a
     set claimed_by = $1, run_id = $20, started_at = clock.at, attempts = a.attempts + 1
    from next, clock
   where a.id = next.id
  returning a.id, a.related, a.data::text as data, a.state::text as state, a.retries_left, a.attempts, a.crashes,
            a.priority, date_part('epoch', a.next_eligible_at) as due_s,
            date_part('epoch', clock.at - a.next_eligible_at) as waited_s, a.repeat_every is not null as repeats,
            a.trace, a.created_by),
begun as (
  insert into actiond.run (id, processor, daemon, actions, started_at)
  select $20, $15, $1, array_agg(c.id), min(clock.at) from claimed c, clock having count(*) > 0)
select c.id, c.related, c.data, c.state, c.retries_left, c.attempts, c.crashes, c.priority, c.due_s, c.waited_s,
       c.repeats, c.trace, c.created_by, case when w.n <> cardinality($2) then coalesce(w.ids, '{}') end as written
  from written w left join claimed c on true
