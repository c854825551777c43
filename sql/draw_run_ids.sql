-- draw_run_ids: ids for runs to come, so that a claim whose answer is lost can be asked about.
--   $1 how many int
--   returns id bigint, that many rows
--   called by: action_store.draw_run_id
select nextval('actiond.run_id_seq') as id from generate_series(1, $1::int)
