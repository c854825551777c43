-- ring: tell every daemon to look again at these processors; not those that run only when woken, for which a
-- ring would count as a wake.
--   $1 processors text[]
--   returns nothing of use
--   called by: presence, rescue_loop
select pg_notify('actiond_wake', string_agg(asked.name, ','))
  from unnest($1::text[]) as asked (name)
  left join actiond.processor p on p.name = asked.name
 where coalesce(p.run_on_insert, (p.declared ->> 'run_on_insert')::boolean, true)
having count(*) > 0
