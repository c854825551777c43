-- The feed: what became of actions, each outcome once, none missed, for a reader that comes when it likes.
--
-- Transactions do not commit in the order in which they began, so no number that is drawn at an INSERT says how far a
-- reader has come: a lower one may still commit. What says it is a snapshot: the transactions that had ended, as
-- "all below xmin, and of those up to xmax all but these". A position is such a snapshot, and the next page is what is
-- visible now and was not visible in it. That is exact, whatever commits late: a transaction that was open when the
-- reader looked is not in its position, and everybody else's outcomes do not wait for it.
--
--   position     what                                   as text
--   at rest      everything that S knows                S
--   in a page    everything that S knows, and of what   S/T/xid/id
--                T knows beyond it up to this entry
--
-- Both branches of a page are read from the index history_outcome: entries of the transactions that were open in the old
-- snapshot, one by one, then entries from its xmax on.

-- The transactions that have ended, as this statement sees it. Not our own, which may still write; and on a replica, which
-- does not list those that are open, only what is below the oldest of them.
create or replace function actiond.ended_transactions() returns pg_snapshot
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when pg_is_in_recovery() then format('%s:%s:', pg_snapshot_xmin(s), pg_snapshot_xmin(s))::pg_snapshot
              when pg_visible_in_snapshot(pg_current_xact_id_if_assigned(), s)
              then format('%s:%s:%s', pg_snapshot_xmin(s), pg_snapshot_xmax(s),
                          (select string_agg(o.xid::text, ',' order by o.xid)
                             from (select pg_snapshot_xip(s) as xid union select pg_current_xact_id_if_assigned()) o))
                     ::pg_snapshot
              else s end
    from pg_current_snapshot() s
$$;

-- What one of two snapshots knows. So a position never goes back, also if it is given to a server that is behind.
create or replace function actiond.either_snapshot(a pg_snapshot, b pg_snapshot) returns pg_snapshot
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('%s:%s:%s', coalesce(open.xids[1], pg_snapshot_xmax(later.s)), pg_snapshot_xmax(later.s),
                array_to_string(open.xids, ','))::pg_snapshot
    from (select case when pg_snapshot_xmax(a) > pg_snapshot_xmax(b) then a else b end as s,
                 case when pg_snapshot_xmax(a) > pg_snapshot_xmax(b) then b else a end as other) later
   cross join lateral (select array_agg(o.xid order by o.xid) as xids from pg_snapshot_xip(later.s) as o (xid)
                        where not pg_visible_in_snapshot(o.xid, later.other)) open
$$;

-- The position of who has seen everything until now.
create or replace function actiond.outcomes_position() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select actiond.ended_transactions()::text $$;

-- outcomes_since(position, 1000): the next outcomes after a position, at most so many (1 to 10,000).
--
-- Each row has the position after it: keep that of the last one, best in the transaction that does what the outcome asks
-- for. No row: there is nothing new, and the position stays. NULL or '': from the beginning of history.
--
-- They come transaction by transaction; of one action those of daemons in the order in which they happened (`id`). What
-- is kept in history decides what is here: see the knob `history`. The processor is NULL once the action is deleted.
create or replace function actiond.outcomes_since(since text default null, most integer default 1000)
returns table (
  id bigint, at timestamptz, action_id bigint, processor text, related text, outcome text, attempt integer, run_id bigint,
  by text, detail text,          -- its first 1,000 characters; see history_list for who may read it
  "position" text
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  parts  text[] := string_to_array(coalesce(nullif(btrim(since), ''), '3:3:'), '/');
  old    pg_snapshot;  -- all of this was read,
  seen   pg_snapshot;  -- of this what stands before (in_xid, in_id),
  known  pg_snapshot;  -- and this is there to be read
  in_page boolean := cardinality(parts) = 4;
  in_xid xid8;
  in_id  bigint;
begin
  if most is null or most not between 1 and 10000 then
    raise exception 'most is 1 to 10000, not %', coalesce(most::text, 'NULL') using errcode = 'AC003';
  end if;
  begin
    old    := parts[1]::pg_snapshot;
    seen   := coalesce(parts[2], parts[1])::pg_snapshot;
    in_xid := coalesce(parts[3], '0')::xid8;
    in_id  := coalesce(parts[4], '0')::bigint;
  exception when data_exception then
    old := null;
  end;
  -- Postgres 15 reads 'x' as the transaction 0.
  if old is null or cardinality(parts) not in (1, 4) or parts[3] !~ '^[0-9]+$' then
    raise exception '% is no position of the feed', quote_literal(since)
      using errcode = 'AC003', hint = 'Give one that outcomes_since or outcomes_position gave, or nothing for the beginning.';
  end if;
  known := actiond.ended_transactions();
  if pg_snapshot_xmax(seen) > pg_snapshot_xmax(known) and not pg_is_in_recovery()
     and current_setting('transaction_isolation') = 'read committed' then
    raise exception 'the position % is from a future that this database does not know', quote_literal(since)
      using errcode = 'AC003',
            hint = 'It is of another database, or of this one before a backup was restored: begin again, with an older one or none.';
  end if;
  return query
    with page as materialized (
      select b.part, b.xid, b.id
        from (
          -- The rest of the page that was begun: not in `old`, in `seen`, and after (in_xid, in_id).
          (select 1 as part, e.xid, e.id
             from pg_snapshot_xip(old) as o (xid)
            cross join lateral (
              select h.xid, h.id from actiond.history h
               where h.xid = o.xid and (h.xid, h.id) > (in_xid, in_id)
                 and h.event in ('completed', 'failed', 'retried', 'deferred', 'repeated', 'canceled', 'crashed')
               order by h.xid, h.id limit most) e
            where in_page and o.xid >= in_xid and pg_visible_in_snapshot(o.xid, seen)
            order by e.xid, e.id limit most)
          union all
          (select 1, h.xid, h.id from actiond.history h
            where in_page and h.xid >= pg_snapshot_xmax(old) and (h.xid, h.id) > (in_xid, in_id)
              and h.xid < pg_snapshot_xmax(seen) and pg_visible_in_snapshot(h.xid, seen)
              and h.event in ('completed', 'failed', 'retried', 'deferred', 'repeated', 'canceled', 'crashed')
            order by h.xid, h.id limit most)
          union all
          -- What came since: not in `seen`, in `known`.
          (select 2, e.xid, e.id
             from pg_snapshot_xip(seen) as o (xid)
            cross join lateral (
              select h.xid, h.id from actiond.history h
               where h.xid = o.xid
                 and h.event in ('completed', 'failed', 'retried', 'deferred', 'repeated', 'canceled', 'crashed')
               order by h.xid, h.id limit most) e
            where pg_visible_in_snapshot(o.xid, known)
            order by e.xid, e.id limit most)
          union all
          (select 2, h.xid, h.id from actiond.history h
            where h.xid >= pg_snapshot_xmax(seen) and pg_visible_in_snapshot(h.xid, known)
              and h.event in ('completed', 'failed', 'retried', 'deferred', 'repeated', 'canceled', 'crashed')
            order by h.xid, h.id limit most)) b
       order by b.part, b.xid, b.id
       limit most)
    select l.id, l.at, l.action_id, a.processor, a.related, l.event, l.attempt, l.run_id, l.by, left(l.detail, 1000),
           case when p.part = 1 then format('%s/%s/%s/%s', old, seen, p.xid, p.id)
                when row_number() over w < most and lead(p.id) over w is null then upto.known  -- there was nothing more
                else format('%s/%s/%s/%s', seen, upto.known, p.xid, p.id) end
      from page p
     cross join (select actiond.either_snapshot(seen, known)::text as known) upto
      join actiond.history_list l on l.id = p.id
      left join actiond.action a on a.id = l.action_id
    window w as (order by p.part, p.xid, p.id)
     order by p.part, p.xid, p.id;
end $$;
