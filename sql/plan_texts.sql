-- plan_texts: the statements of a plan.
--   $1 name text, $2 columns of its source text[], $3 the oids of their types text[]
--   returns first, next, preview, counted, see sql/functions/130_plans.sql
--   called by: plan, plan_edit.preview
select t.first, t.next, t.preview, t.counted from actiond.plan_texts($1, $2::text[], $3::text[]) t
