-- insert_actions: many actions of one processor, in order.
--   $1 processor text, $2 data text[] (JSON), $3 related text[], $4 priority int2, $5 due in float8 (seconds),
--   $6 parent bigint, $7 trace text (W3C traceparent), both of all
--   returns id bigint, in the order given
--   called by: postgres/enqueue
insert into actiond.action (processor, data, related, priority, next_eligible_at, parent_id, trace)
select $1, r.data::jsonb, r.related, $4::smallint, n.at + $5::float8 * interval '1 second', $6::bigint, $7::text
  from unnest($2::text[], $3::text[]) with ordinality as r (data, related, place), (select actiond.now() as at) n
 order by r.place
returning id
