-- plan_change: other values for a plan, if nobody has changed it meanwhile.
--   $1 name text, $2 description text, $3 source text, $4 key text, $5 processor text, $6 mapping text (JSON), $7 page int,
--   $8 enabled boolean, $9 overlap text, $10 abort percent float4, $11 then plan text, $12 then on text, $13 notify text,
--   $14 notify processor text, $15 flag text, $16 the edition it has int
--   returns edition int; no row if it is another one by now
--   called by: plan_edit.change
update actiond.plan p
   set description = $2, source = $3, key = $4, processor = $5, mapping = $6::text::jsonb, page = $7, enabled = $8,
       overlap = $9, abort_percent = $10, then_plan = $11, then_on = $12, notify = $13, notify_processor = $14, flag = $15
 where p.name = $1 and p.edition = $16
returning edition
