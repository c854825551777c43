-- plan_begin: a run of a plan begins, or goes on. Locks the plan, so that of two runs one sees the other.
--   $1 name text, $2 the run (an action) bigint
--   returns query text, processor, key, enabled, flag, overlap, abort_percent, edition of the plan; other bigint, a run of it
--     that is open and began before, or NULL
--   called by: plan
select actiond.plan_query(p.source) as query, p.processor, p.key, p.enabled, p.flag, p.overlap, p.abort_percent, p.edition,
       (select min(a.id) from actiond.action a
         where a.processor = 'actiond.plan' and a.data ->> 'plan' = p.name and a.status in ('pending', 'held')
           and a.id <> $2 and (a.id < $2 or a.state ? 'edition')) as other
  from actiond.plan p
 where p.name = $1
   for no key update of p
