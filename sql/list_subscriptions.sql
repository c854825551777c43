-- list_subscriptions: who hears of which event.
--   $1 event text, NULL = all; $2 processor text, NULL = all
--   returns event, processor, created_at, created_by, known boolean (the processor is)
--   called by: events.subscriptions
select s.event, s.processor, s.created_at, s.created_by,
       exists (select from actiond.processor p where p.name = s.processor) as known
  from actiond.subscription s
 where s.event = coalesce($1::text, s.event) and s.processor = coalesce($2::text, s.processor)
 order by s.event, s.processor
