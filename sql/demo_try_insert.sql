-- demo_try_insert: a query to try: ask for work; the row has its outcome a moment later.
--   no parameters
--   returns id bigint
--   called by: people
insert into actiond.action (processor, data)
values ('fingerprint', '{"path": "/etc/hosts"}') returning id
