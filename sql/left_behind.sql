-- left_behind: who holds an open run and does not live: it was claimed after its daemon had been declared dead.
--   no parameters
--   returns daemon int
--   called by: daemon_store.left_behind
select distinct r.daemon from actiond.run r
 where r.finished_at is null
   and not exists (select from actiond.daemon d where d.id = r.daemon and d.ended_at is null)
 limit 100
