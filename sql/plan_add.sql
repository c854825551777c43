-- plan_add: a new plan.
--   $1 name text, $2 description text, $3 source text, $4 key text, $5 processor text, $6 mapping text (JSON), $7 page int,
--   $8 enabled boolean, $9 overlap text, $10 abort percent float4, $11 then plan text, $12 then on text, $13 notify text,
--   $14 notify processor text, $15 flag text
--   returns edition int; no row if there is one of this name
--   called by: plan_edit.add
insert into actiond.plan (name, description, source, key, processor, mapping, page, enabled, overlap, abort_percent,
                          then_plan, then_on, notify, notify_processor, flag)
values ($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8, $9, $10, $11, $12, $13, $14, $15)
on conflict do nothing
returning edition
