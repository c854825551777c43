-- plan_asked_by: may this role ask for a run of a plan?
--   $1 role text
--   returns nothing; AC005 if it may not
--   called by: plan
select actiond.plan_asked_by($1)
