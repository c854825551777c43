-- Asking for work from psql. Run with: psql -f examples/client.sql
insert into actiond.action (processor, data, related) values ('welcome', '{"to": "ada@example.org"}', 'customer 1');
select actiond.enqueue('welcome', '{"to": "bob@example.org"}', due_in => '1 min') as id;
select id, processor, status, next_eligible_at from actiond.action_list order by id desc limit 5;
