-- torture_open: how many rows are not final.
--   no parameters
--   returns open int, held int
--   called by: torture
select count(*) filter (where a.status = 'pending')::int as open, count(*) filter (where a.status = 'held')::int as held
  from actiond.action a where a.status in ('pending', 'held')
