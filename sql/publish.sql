-- publish: one notification for each payload, in order, when the transaction commits.
--   $1 channel text, $2 payloads text[]
--   returns nothing
--   called by: actiond_processors.publish
select pg_catalog.pg_notify($1, p.payload) from unnest($2::text[]) with ordinality as p (payload, place) order by p.place
