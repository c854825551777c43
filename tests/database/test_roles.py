"""deploy/roles.sql: what each role may do, tried for real, by a login of each.

The table below is the whole of it: `yes` it may, `-` Postgres refuses for want of a right (42501), `no` a rule of the
schema refuses, whoever asks. Each statement runs in a transaction that is rolled back.
"""

from __future__ import annotations

import io
import re

import asyncpg
import pytest

from support.roles import PEOPLE, Peopled

TABLE = """
                                                                      owner daemon producer operator reader stranger
asking for work
  insert into actiond.action (processor) values ('p')                 yes   yes    yes      yes      -      -
  insert into actiond.action (processor, data, related, next_eligible_at, priority, retries_left, status)
      values ('p', '{}', 'x', now(), 1, 2, 'held') returning id
                                                                      yes   yes    yes      yes      -      -
  select actiond.enqueue('p', '{}')                                   yes   yes    yes      yes      -      -
  select actiond.publish('e', '{}')                                   yes   yes    yes      yes      -      -
  insert into actiond.action (processor, state) values ('p', '1')     yes   yes    yes      yes      -      -
  insert into actiond.action (processor, repeat_every) values ('p', '1 h')
                                                                      yes   yes    yes      yes      -      -
  insert into actiond.action (processor, repeat_slot) values ('p', now())
                                                                      yes   -      -        -        -      -
  copy actiond.action (processor, data) from stdin                    yes   yes    yes      yes      -      -
  insert into actiond.action (processor) values ('p') returning data  yes   yes    -        yes      -      -
forging a record
  insert into actiond.action (processor, claimed_by) values ('p', 1)  no    -      -        -        -      -
  insert into actiond.action (processor, run_id) values ('p', 1)      no    -      -        -        -      -
  insert into actiond.action (processor, attempts) values ('p', 1)    no    -      -        -        -      -
  insert into actiond.action (processor, crashes) values ('p', 1)     no    -      -        -        -      -
  insert into actiond.action (processor, started_at) values ('p', now())
                                                                      no    -      -        -        -      -
  insert into actiond.action (processor, finished_at) values ('p', now())
                                                                      no    -      -        -        -      -
  insert into actiond.action (processor, error) values ('p', 'x')     no    -      -        -        -      -
  insert into actiond.action (processor, result) values ('p', '1')    no    -      -        -        -      -
  insert into actiond.action (processor, created_by) values ('p', 'ada')
                                                                      no    -      -        -        -      -
  insert into actiond.action (processor, status) values ('p', 'completed')
                                                                      no    no     no       no       -      -
  insert into actiond.action (processor, created_at) values ('p', '2020-01-01')
                                                                      yes   -      -        -        -      -
  insert into actiond.action (id, processor) values (77, 'p')         no    no     no       no       no     -
  insert into actiond.action (id, processor) overriding system value values (77, 'p')
                                                                      yes   -      -        -        -      -
  copy actiond.action (processor, attempts) from stdin                yes   -      -        -        -      -
reading
  select id from actiond.action                                       yes   yes    yes      yes      yes    -
  select status, related, created_by from actiond.action              yes   yes    -        yes      yes    -
  select data from actiond.action                                     yes   yes    -        yes      -      -
  select error, result, state from actiond.action                     yes   yes    -        yes      -      -
  select * from actiond.action_list                                   yes   yes    -        yes      yes    -
  select * from actiond.history_list                                  yes   yes    -        yes      yes    -
  select detail from actiond.history                                  yes   yes    -        yes      -      -
  select event, by from actiond.history                               yes   yes    -        yes      yes    -
  select * from actiond.outcomes_since('')                            yes   yes    -        yes      yes    -
  select actiond.outcomes_position()                                  yes   yes    -        yes      yes    -
  select * from actiond.processor_policy                              yes   yes    -        yes      yes    -
  select * from actiond.run, actiond.daemon, actiond.setting, actiond.migration
                                                                      yes   yes    -        yes      yes    -
  copy (select data from actiond.action) to stdout                    yes   yes    -        yes      -      -
  copy actiond.action to program 'cat'                                -     -      -        -        -      -
changing what was asked for
  update actiond.action set processor = 'q' where id = 1              yes   -      -        -        -      -
  update actiond.action set data = '1' where id = 1                   yes   -      -        -        -      -
  update actiond.action set related = 'x' where id = 1                yes   -      -        -        -      -
  update actiond.action set created_by = 'ada' where id = 1           yes   -      -        -        -      -
  update actiond.action set created_at = '2020-01-01' where id = 1    yes   -      -        -        -      -
  delete from actiond.action where id = 1                             yes   -      -        -        -      -
deciding by hand
  update actiond.action set status = 'held' where id = 1              yes   yes    -        yes      -      -
  update actiond.action set status = 'canceled' where id = 2          yes   yes    -        yes      -      -
  update actiond.action set status = 'pending', retries_left = 3 where id = 3
                                                                      yes   yes    -        yes      -      -
  update actiond.action set next_eligible_at = now() where id = 1     yes   yes    -        yes      -      -
  update actiond.action set priority = 0 where id = 1                 yes   yes    -        yes      -      -
  update actiond.action set status = 'completed' where id = 1         no    no     -        no       -      -
  update actiond.action set status = 'completed' where id = 2         no    no     -        no       -      -
  update actiond.action set status = 'completed', claimed_by = 0 where id = 2
                                                                      no    no     -        -        -      -
  update actiond.action set status = 'completed', claimed_by = 0, finished_at = now() where id = 2
                                                                      yes   yes    -        -        -      -
  update actiond.action set status = 'failed', claimed_by = 0 where id = 2
                                                                      no    no     -        -        -      -
  update actiond.action set status = 'pending' where id = 4           no    no     -        no       -      -
  update actiond.action set claimed_by = 0 where id = 2               yes   yes    -        -        -      -
  update actiond.action set claimed_by = 9, run_id = 9 where id = 1   yes   yes    -        -        -      -
  update actiond.action set attempts = 0, crashes = 0 where id = 1    yes   yes    -        -        -      -
  update actiond.action set error = null, result = null where id = 3  yes   yes    -        -        -      -
standing in the way
  truncate actiond.action                                             yes   -      -        -        -      -
  lock table actiond.action in access exclusive mode                  yes   -      -        -        -      -
  lock table actiond.action in row exclusive mode                     yes   -      -        -        -      -
  lock table actiond.action in access share mode                      yes   yes    -        yes      -      -
  select id from actiond.action where id = 1 for update               yes   yes    -        yes      -      -
  create trigger mine after insert on actiond.action for each row execute function actiond.inserted()
                                                                      yes   -      -        -        -      -
  alter table actiond.action disable trigger user                     yes   -      -        -        -      -
  alter function actiond.changed_by_hand() reset search_path          yes   -      -        -        -      -
  create function actiond.mine() returns int language sql as 'select 1'
                                                                      yes   -      -        -        -      -
  create table actiond.mine (id int)                                  yes   -      -        -        -      -
  create index on actiond.action (data)                               yes   -      -        -        -      -
  drop schema actiond cascade                                         yes   -      -        -        -      -
the audit
  insert into actiond.history (action_id, event) values (1, 'canceled')
                                                                      yes   yes    -        -        -      -
  insert into actiond.history (action_id, event, by) values (1, 'held', 'ada')
                                                                      yes   -      -        -        -      -
  insert into actiond.history (action_id, event, xid) values (1, 'failed', '3')
                                                                      yes   -      -        -        -      -
  update actiond.history set detail = ''                              yes   -      -        -        -      -
  delete from actiond.history                                         yes   -      -        -        -      -
  delete from actiond.run                                             yes   -      -        -        -      -
  update actiond.run set actions = '{}'                               yes   -      -        -        -      -
  update actiond.daemon set ended_at = now(), ended = 'died'          yes   yes    -        -        -      -
  delete from actiond.daemon                                          yes   -      -        -        -      -
  update actiond.migration set sha256 = ''                            yes   -      -        -        -      -
policies and switches
  update actiond.processor set enabled = false, batch_size = 3        yes   -      -        yes      -      -
  update actiond.processor set uses = 'sql_function'                  yes   -      -        -        -      -
  update actiond.processor set config = '{"function": "mallory.f"}'   yes   -      -        -        -      -
  update actiond.processor set declared = '{}'                        yes   yes    -        -        -      -
  insert into actiond.processor (name, uses) values ('q', 'sql_function')
                                                                      yes   -      -        -        -      -
  delete from actiond.processor                                       yes   -      -        -        -      -
  insert into actiond.setting (name, value) values ('paused', 'true')
      on conflict (name) do update set value = excluded.value
                                                                      yes   -      -        yes      -      -
  update actiond.setting set updated_by = 'ada'                       yes   -      -        -        -      -
  insert into actiond.subscription (event, processor) values ('e', 'p')
                                                                      yes   -      -        yes      -      -
  insert into actiond.subscription (event, processor, created_by) values ('e', 'p', 'ada')
                                                                      yes   -      -        -        -      -
  select event, processor from actiond.subscription                   yes   yes    yes      yes      yes    -
  update actiond.subscription set processor = 'q'                     yes   -      -        -        -      -
  delete from actiond.subscription                                    yes   -      -        yes      -      -
  select actiond.wake('p')                                            yes   yes    -        yes      -      -
  update actiond.processor set rate = '1/s', burst = 2, breaker = 0.5 yes   -      -        yes      -      -
  update actiond.processor set flag = 'a', "window" = '22:00-06:00 UTC'
                                                                      yes   -      -        yes      -      -
  select actiond.set_flag('a', true)                                  yes   -      -        yes      -      -
  select actiond.set_flag('a', null)                                  yes   -      -        yes      -      -
  select actiond.flag_on('a')                                         yes   yes    yes      yes      yes    -
  select * from actiond.flag_list                                     yes   yes    -        yes      yes    -
  select * from actiond.switch_list                                   yes   yes    -        yes      yes    -
  select actiond.plan_goes_on('a')                                    yes   -      -        -        -      -
  update actiond.schedule set flag = 'a'                              yes   -      -        yes      -      -
  update actiond.plan set flag = 'a'                                  yes   -      -        -        -      -
  insert into actiond.brake (processor, tokens, tokens_at) values ('q', 1, now())
                                                                      yes   yes    -        -        -      -
  update actiond.brake set tokens = 0                                 yes   yes    -        -        -      -
  update actiond.brake set opened_at = now(), open_until = now()      yes   yes    -        yes      -      -
  delete from actiond.brake                                           yes   -      -        -        -      -
  select * from actiond.resume('p')                                   yes   -      -        yes      -      -
  select * from actiond.brake_list                                    yes   yes    -        yes      yes    -
old rows
  update actiond.processor set retention_completed = '1 d'            yes   -      -        -        -      -
  select * from actiond.set_processor('p', 'retention_failed', '1 d') yes   -      -        -        -      -
  update actiond.purge set due_at = now()                             yes   -      -        -        -      -
  select * from actiond.purge(10)                                     yes   yes    -        -        -      -
  select actiond.purge_runs(10)                                       yes   -      -        -        -      -
  select * from actiond.retention                                     yes   yes    -        yes      yes    -
functions and roles
  select actiond.ring('p')                                            yes   -      -        -        -      -
  select actiond.call_for_row('pg_catalog.concat', '', '{}')          yes   yes    -        -        -      -
  select nextval('actiond.run_id_seq')                                yes   yes    -        -        -      -
  select setval('actiond.run_id_seq', 1)                              yes   -      -        -        -      -
  set role actiond_owner                                              yes   -      -        -        -      -
  set role actiond_daemon                                             -     yes    -        -        -      -
  create role mallory                                                 -     -      -        -        -      -
  grant actiond_owner to test_stranger                                -     -      -        -        -      -
  grant select on actiond.action to public                            yes   void   -        void     -      -
  select pg_read_file('/etc/passwd')                                  -     -      -        -        -      -
"""


def rows() -> list[tuple[str, dict[str, str]]]:
    """(statement, who -> verdict) for each row of TABLE."""
    found, statement = [], ""
    for line in TABLE.strip("\n").splitlines()[1:]:
        if not line.startswith(" "):
            continue  # a heading
        said = re.fullmatch(r"(?P<said>.*?)(?P<verdicts>(?:(?:^| +)(?:yes|no|void|-)){6})?", line.strip())
        assert said is not None
        statement = f"{statement} {said['said'].strip()}".strip()
        if said["verdicts"]:
            found.append((statement, dict(zip(PEOPLE, said["verdicts"].split(), strict=True))))
            statement = ""
    return found


ROWS = rows()


async def verdict(conn: asyncpg.Connection, statement: str) -> str:
    """yes, no or -; `void` where Postgres only warns that nothing was done."""
    said: list[str] = []
    conn.add_log_listener(lambda _, message: said.append(message.sqlstate))
    transaction = conn.transaction()
    await transaction.start()
    try:
        await _execute(conn, statement)
    except asyncpg.InsufficientPrivilegeError:
        return "-"
    except asyncpg.PostgresError as refused:
        return "no" if refused.sqlstate in ("AC001", "AC002", "428C9") else str(refused)
    finally:
        await transaction.rollback()
    return "void" if "01007" in said else "yes"


async def _execute(conn: asyncpg.Connection, statement: str) -> None:
    copied = re.fullmatch(r"copy actiond.action \((.*)\) from stdin", statement)
    if copied:
        columns = [name.strip() for name in copied[1].split(",")]
        values = {"processor": "p", "data": "{}", "attempts": 0}
        await conn.copy_records_to_table(
            "action", schema_name="actiond", columns=columns, records=[tuple(values[name] for name in columns)]
        )
    elif statement.endswith("to stdout"):
        await conn.copy_from_query(statement.removeprefix("copy (").removesuffix(") to stdout"), output=io.BytesIO())
    else:
        await conn.execute(statement)


@pytest.mark.parametrize(("statement", "expected"), ROWS, ids=[f"{place:02}" for place, _ in enumerate(ROWS)])
async def test_a_role_may_do_what_the_table_says_and_nothing_else(
    peopled: Peopled, statement: str, expected: dict[str, str]
) -> None:
    found = {}
    for who in PEOPLE:
        async with peopled.connected(who) as conn:
            found[who] = await verdict(conn, statement)
    assert (statement, found) == (statement, expected)


def test_the_table_is_read_as_it_is_meant() -> None:
    assert len(ROWS) > 80
    assert ROWS[0][0] == "insert into actiond.action (processor) values ('p')"
    assert ROWS[0][1]["producer"] == "yes"
    assert {row[1]["stranger"] for row in ROWS} == {"-"}


# What may hold somebody's data.


async def everything_seen(conn: asyncpg.Connection) -> str:
    """All of every view that this role may read."""
    views = await conn.fetch(
        "select c.oid::regclass::text as name from pg_class c where c.relnamespace = 'actiond'::regnamespace"
        " and c.relkind = 'v' and has_table_privilege(c.oid, 'select') order by 1"
    )
    assert len(views) >= 3
    return "".join([str(await conn.fetch(f"select v::text from {view['name']} v")) for view in views])


async def test_a_reader_sees_that_there_is_an_error_and_not_what_it_says(peopled: Peopled) -> None:
    async with peopled.connected("reader") as conn:
        row = await conn.fetchrow("select status, error, data, result, state from actiond.action_list where id = 3")
        assert tuple(row) == ("failed", "(hidden)", '"(hidden)"', '"(hidden)"', '"(hidden)"')
        row = await conn.fetchrow("select error, result, state from actiond.action_list where id = 1")
        assert tuple(row) == (None, None, None)
        assert await conn.fetchval("select detail from actiond.history_list where action_id = 3") == "(hidden)"


@pytest.mark.parametrize(("who", "sees"), [("operator", True), ("reader", False)])
async def test_no_view_shows_a_reader_what_the_table_would_not(peopled: Peopled, who: str, sees: bool) -> None:
    async with peopled.connected(who) as conn:
        assert ("private" in await everything_seen(conn)) is sees


async def test_a_reader_sees_more_when_granted_more(peopled: Peopled) -> None:
    async with peopled.connected("postgres") as owner, peopled.connected("reader") as reader:
        await owner.execute("grant select (error) on actiond.action to test_reader")
        row = await reader.fetchrow("select error, data from actiond.action_list where id = 3")
        assert tuple(row) == ("private", '"(hidden)"')
        await owner.execute("revoke select (error) on actiond.action from test_reader")
