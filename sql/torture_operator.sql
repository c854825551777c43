-- torture_operator: an operator changes the status of a few rows by hand.
--   $1 from statuses text[], $2 to status text, $3 how many int, $4 offset int
--   returns id bigint
--   called by: torture/faults
with few as (
  select a.id from actiond.action a where a.status = any($1::text[]) and a.waits_for is null
     and a.processor <> 'actiond.verb' order by a.id desc offset $4 limit $3
     for no key update skip locked)
update actiond.action a set status = $2 from few where a.id = few.id
returning a.id
