-- doctor_notify: ring a bell of one's own, to hear whether it arrives.
--   $1 channel text, $2 payload text
--   returns nothing of use
--   called by: doctor_listen.hears
select pg_notify($1, $2)
