-- settings: the switches of the installation.
--   no parameters
--   returns name text, value text (JSON)
--   called by: read.status
select s.name, s.value::text as value from actiond.setting s order by s.name
