-- void_run: take a run id out of use, because the answer of its claim was lost.
--
-- Waits while the lost statement is still in flight. A unique violation says that the claim committed;
-- success says that it claimed nothing, and should it still arrive it is refused by the primary key.
--   $1 run id bigint, $2 daemon int
--   returns nothing
--   called by: action_store.recover
insert into actiond.run (id, processor, daemon, actions, started_at, finished_at)
values ($1, '(void)', $2, '{}', actiond.now(), actiond.now())
