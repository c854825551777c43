-- doctor_place: which database of which server this connection leads to.
--   no parameters
--   returns place text
--   called by: doctor_listen.hears
select current_database() || ', server started ' || pg_postmaster_start_time() as place
