-- config_plans: every plan. Not what runs: who may read no payloads may export all the same.
--   no parameters
--   returns the columns of actiond.plan
--   called by: config_store.found
select p.* from actiond.plan p order by p.name
