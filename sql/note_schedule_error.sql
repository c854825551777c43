-- note_schedule_error: why a schedule does not fire, for whoever looks at its row; NULL = it can be read again.
--   $1 name text, $2 processor text, $3 edition int, $4 error text
--   returns nothing
--   called by: schedule_store.note_error
with item as materialized (
  select s.name, s.processor from actiond.schedule s
   where s.name = $1 and s.processor = $2 and s.edition = $3 and s.error is distinct from $4::text
     for no key update skip locked)
update actiond.schedule s set error = $4 from item i where s.name = i.name and s.processor = i.processor
