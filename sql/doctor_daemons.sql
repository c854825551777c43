-- doctor_daemons: the daemons that have not ended.
--   no parameters
--   returns id, host, pid, processors, seen_s, lives
--   called by: doctor
select d.id, d.host, d.pid, d.processors, d.seen_s, d.lives from actiond.living_daemons() d order by d.id
