-- act: one verb on these ids, in one transaction.
--   $1 verb text, $2 ids bigint[], $3 reason text, $4 add retries int
--   returns id, processor, was (NULL = there is no such action), status, changed; a row for each id, in id order
--   called by: verbs.act
select a.id, a.processor, a.was, a.status, a.changed from actiond.act($1::text, $2::bigint[], $3::text, $4::int) a
