-- end_daemon: this daemon stopped, or a peer was found dead and holds nothing any more.
--   $1 daemon int, $2 how text (stopped, died)
--   returns id int, if it was not ended before
--   called by: daemon_store.end
update actiond.daemon set ended_at = actiond.now(), ended = $2
 where id = $1 and ended_at is null
   and not exists (select from actiond.run r where r.daemon = $1 and r.finished_at is null)
returning id
