-- config_processors: every processor that is known, and what an operator has set of it.
--   no parameters
--   returns name text, uses text, overrides text (JSON: knob -> value, durations as '90 s'), redact text[]
--   called by: config_store.found
select p.name, p.uses, coalesce(o.overrides, '{}')::text as overrides, p.redact
  from actiond.processor p
  left join lateral (
    select jsonb_object_agg(v.knob, case when a.atttypid = 'interval'::regtype
                                         then to_jsonb(trim_scale(extract(epoch from (to_jsonb(p) ->> v.knob)::interval)) || ' s')
                                         else to_jsonb(p) -> v.knob end) as overrides
      from actiond.processor_policy v
      join pg_catalog.pg_attribute a on a.attrelid = 'actiond.processor'::regclass and a.attname = v.knob
     where v.processor = p.name and v.origin = 'override') o on true
 order by p.name
