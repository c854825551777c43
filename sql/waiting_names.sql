-- waiting_names: every processor that has pending rows, by jumping through the index: one probe a name.
--   no parameters
--   returns name text
--   called by: processor_store.waiting_names
with recursive names as (
  (select a.processor from actiond.action a where a.status = 'pending' order by a.processor limit 1)
  union all
  select (select a.processor from actiond.action a
           where a.status = 'pending' and a.processor > n.processor order by a.processor limit 1)
    from names n where n.processor is not null)
select n.processor as name from names n where n.processor is not null
