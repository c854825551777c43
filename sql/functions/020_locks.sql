-- Advisory locks. Every one of ours is (class, key); this function is the only place that names the classes.
--
--   bell      key = hash of the processor. Inserters hold it shared until their commit; a daemon that
--             sleeps holds it exclusively. An inserter that cannot take it knows that somebody sleeps: it rings.
--   sentinel  key = hash of the processor. The one daemon that may hold the bell.
--   daemon    key = daemon id. Held by the session that beats: free = that process is gone.
--   migrate   key = 0. One migration at a time.
--   slots     key = hash of the processor. What bounds a processor over all daemons (calls at once, a rate, a breaker) is
--             read and changed by one at a time.
create or replace function actiond.lock_class(what text) returns integer
language sql immutable parallel safe
as $$
  select case what
           when 'bell'     then 1633907713
           when 'sentinel' then 1633907714
           when 'daemon'   then 1633907715
           when 'migrate'  then 1633907716
           when 'slots'    then 1633907717
         end
$$;

-- The schema's name is part of the key, so that two schemas of one database do not hear each other.
create or replace function actiond.lock_key(processor text) returns integer
language sql immutable parallel safe
as $$ select pg_catalog.hashtext('actiond.' || processor) $$;
