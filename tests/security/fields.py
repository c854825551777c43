"""Where texts of people, producers and configuration files go, and how they get there."""

from __future__ import annotations

#: column -> what writes $1 there and gives back what is there now; of JSON a value, and the name of a field.
FIELDS = {
    "action.processor": ["insert into actiond.action (processor) values ($1) returning processor"],
    "action.related": ["insert into actiond.action (processor, related) values ('p', $1) returning related"],
    "action.data": [
        "insert into actiond.action (processor, data) values ('p', to_jsonb($1::text)) returning data #>> '{}'",
        (
            "insert into actiond.action (processor, data) values ('p', jsonb_build_object($1::text, 1))"
            " returning (select k from jsonb_object_keys(data) k)"
        ),
    ],
    "action.state": [
        "insert into actiond.action (processor, state) values ('p', to_jsonb($1::text)) returning state #>> '{}'"
    ],
    "action.trace": ["insert into actiond.action (processor, trace) values ('p', $1) returning trace"],
    "action.waits_for": ["insert into actiond.action (processor, waits_for) values ('p', $1) returning waits_for"],
    "action.status": ["insert into actiond.action (processor, status) values ('p', $1) returning status"],
    "action.created_by": ["insert into actiond.action (processor, created_by) values ('p', $1) returning created_by"],
    "action.error": ["update actiond.action set error = $1 where id = 1 returning error"],
    "history.reason": ["select public.held_because($1)"],
    "history.verb": ["select set_config('actiond.verb', $1, false)"],
    "history.by": ["select set_config('actiond.by', $1, false)"],
    "history.verb_id": ["select set_config('actiond.verb_id', $1, false)"],
    "processor.name": ["insert into actiond.processor (name) values ($1) returning name"],
    "processor.backoff": ["update actiond.processor set backoff = $1 where name = 'p' returning backoff"],
    "processor.history": ["update actiond.processor set history = $1 where name = 'p' returning history"],
    "processor.rate": [
        "update actiond.processor set rate = $1 where name = 'p' returning rate",
        "select s.after #>> '{}' from actiond.set_processor('p', 'rate', $1) s",
    ],
    "processor.flag": [
        "update actiond.processor set flag = $1 where name = 'p' returning flag",
        "select s.after #>> '{}' from actiond.set_processor('p', 'flag', $1) s",
    ],
    "processor.window": [
        'update actiond.processor set "window" = $1 where name = \'p\' returning "window"',
        "select s.after #>> '{}' from actiond.set_processor('p', 'window', $1) s",
    ],
    "processor.config": [
        "update actiond.processor set config = jsonb_build_object('x', $1::text) returning config ->> 'x'"
    ],
    "processor.uses": ["update actiond.processor set uses = $1 where name = 'p' returning uses"],
    "processor.redact": ["update actiond.processor set redact = array[$1::text] where name = 'p' returning redact[1]"],
    "setting.name": [
        "insert into actiond.setting (name, value) values ($1, 'true') returning name",
        "insert into actiond.setting (name, value) values ('flag:' || $1, 'true') returning substr(name, 6)",
        "select s.name from actiond.set_flag($1, true, $1) s",
        "select s.name from actiond.write_setting($1, '1') s",
    ],
    "setting.value": [
        "insert into actiond.setting (name, value) values ('x', to_jsonb($1::text)) returning value #>> '{}'"
    ],
    "schedule.name": ["insert into actiond.schedule (name, processor, every) values ($1, 'p', '1 h') returning name"],
    "schedule.processor": [
        "insert into actiond.schedule (name, processor, every) values ('s', $1, '1 h') returning processor"
    ],
    "schedule.cron": ["insert into actiond.schedule (name, processor, cron) values ('s', 'p', $1) returning cron"],
    "schedule.timezone": [
        (
            "insert into actiond.schedule (processor, name, every, timezone)"
            " values ('p', 's', '1 h', $1) returning timezone"
        )
    ],
    "schedule.data": [
        (
            "insert into actiond.schedule (name, processor, every, data) values ('s', 'p', '1 h', to_jsonb($1::text))"
            " returning data #>> '{}'"
        )
    ],
    "schedule.related": [
        (
            "insert into actiond.schedule (name, processor, every, data, related) values ('s', 'p', '1 h', '{}', $1)"
            " returning related"
        )
    ],
    "schedule.environments": [
        (
            "insert into actiond.schedule (name, processor, every, environments)"
            " values ('s', 'p', '1 h', array[$1::text]) returning environments[1]"
        )
    ],
    "schedule.flag": [
        "insert into actiond.schedule (name, processor, every, flag) values ('s', 'p', '1 h', $1) returning flag"
    ],
    "schedule.missed": ["update actiond.schedule set missed = $1 where name = 'night' returning missed"],
    "schedule.overlap": ["update actiond.schedule set overlap = $1 where name = 'night' returning overlap"],
    "plan.name": ["insert into actiond.plan (name, source, processor) values ($1, 'one', 'p') returning name"],
    "plan.description": ["update actiond.plan set description = $1 where name = 'monthly' returning description"],
    "plan.key": [
        "update actiond.plan set key = $1 where name = 'monthly' returning key",
        "select p.key || public.texts_of(p.name) from actiond.plan p where p.key = $1",
    ],
    "plan.processor": ["update actiond.plan set processor = $1 where name = 'monthly' returning processor"],
    "plan.mapping": [
        (
            "update actiond.plan set mapping = jsonb_build_object($1::text, 'id') where name = 'monthly'"
            " returning (select k from jsonb_object_keys(mapping) k)"
        ),
        "select $1 || public.texts_of('monthly')",
        "update actiond.plan set mapping = jsonb_build_object('x', $1::text) returning mapping ->> 'x'",
        "select $1 || public.texts_of('monthly')",
        (
            "update actiond.plan set mapping = jsonb_build_object('x', jsonb_build_object('const', $1::text))"
            " where name = 'monthly' returning mapping #>> '{x,const}'"
        ),
        "select $1 || public.texts_of('monthly')",
        "update actiond.plan set mapping = null where name = 'monthly' returning $1",
    ],
    "plan.overlap": ["update actiond.plan set overlap = $1 where name = 'monthly' returning overlap"],
    "plan.then_plan": ["update actiond.plan set then_plan = $1 where name = 'monthly' returning then_plan"],
    "plan.then_on": ["update actiond.plan set then_on = $1 where name = 'monthly' returning then_on"],
    "plan.notify": ["update actiond.plan set notify = $1 where name = 'monthly' returning notify"],
    "plan.notify_processor": [
        "update actiond.plan set notify_processor = $1 where name = 'monthly' returning notify_processor"
    ],
    "plan.flag": ["update actiond.plan set flag = $1 where name = 'monthly' returning flag"],
    "subscription.event": [
        "insert into actiond.subscription (event, processor) values ($1, 'p') returning event",
        "select $1 || actiond.publish($1, jsonb_build_object($1::text, $1::text), $1)",
    ],
    "subscription.processor": [
        "insert into actiond.subscription (event, processor) values ('e', $1) returning processor"
    ],
}
#: What is asked with a text, and changes nothing.
QUESTIONS = [
    "select f::text from actiond.find(jsonb_build_object('processor', $1::text)) f",
    "select f::text from actiond.find(jsonb_build_object('related', $1::text)) f",
    "select f::text from actiond.find(jsonb_build_object('related', $1::text), newest_first => true) f",
    "select f::text from actiond.find(jsonb_build_object('status', $1::text)) f",
    "select f::text from actiond.find(jsonb_build_object('status', 'pending', 'processor', $1::text)) f",
    "select f::text from actiond.find(jsonb_build_object('error', $1::text)) f",
    "select f::text from actiond.find(jsonb_build_object('fingerprint', $1::text)) f",
    "select f::text from actiond.find(jsonb_build_object('created_since', $1::text)) f",
    "select f::text from actiond.find(jsonb_build_object('changed_by', $1::text)) f",
    "select f::text from actiond.find(jsonb_build_object('upto', $1::text)) f",
    "select f::text from actiond.find(jsonb_build_object($1::text, 1)) f",
    "select actiond.find_in(jsonb_build_object('changed_by', $1::text), 'asc', 10, true)",
    "select actiond.bulk($1, '{}')",
    "select actiond.bulk('hold', jsonb_build_object('processor', $1::text), $1, asked => $1)",
    "select actiond.act($1, '{1}')",
    "select actiond.fingerprint($1)",
    "select actiond.redacted(jsonb_build_object($1::text, $1::text), array[$1::text])",
    "select actiond.flag_on($1)",
    "select actiond.window_opens_at('08:00-17:00 ' || $1, now())",
    "select actiond.plan_run($1)",
    "select actiond.publish($1, jsonb_build_object($1::text, $1::text), $1)",
    "select actiond.wake($1)",
    "select actiond.pause($1, $1)",
    "select actiond.resume($1, $1)",
    "select actiond.set_processor($1, 'batch_size', '1')",
    "select actiond.set_processor('p', $1, '1')",
    "select actiond.set_processor('p', 'timeout', $1)",
    "select actiond.write_knob('p', $1, '1')",
    "select actiond.write_knob('p', 'backoff', $1)",
    "select actiond.outcomes_since($1)",
    "select actiond.call_for_row($1, 'x', '{}')",
    "select actiond.call_for_batch($1, '[]')",
    "select actiond.plan_goes_on($1)",
    "select actiond.enqueue('p', waits_on => 1, waits_for => $1)",
    "select pg_notify('actiond_wake', $1), pg_notify('actiond_withdrawn', $1), pg_notify('actiond_policy', $1)",
]
#: Written by daemons, whose texts come from code, from errors (which test_hostile_payloads covers) or from these.
BY_DAEMONS = {
    "action": {"result", "run_id"},
    "brake": {"processor", "recent"},
    "daemon": {"host", "version", "processors", "ended"},
    "history": {"event", "detail", "before", "after", "processor"},
    "migration": {"name", "sha256"},
    "plan": {"updated_by", "source"},  # source: the one that is meant to be SQL, see test_who_may_write_sql
    "processor": {"declared", "built_in", "payload", "updated_by"},
    "run": {"processor"},
    "run_hour": {"processor"},
    "schedule": {"error", "updated_by"},
    "setting": {"updated_by"},
    "subscription": {"created_by"},
}
HELPERS = """
create function public.held_because(reason text) returns text language plpgsql as $$
declare made bigint := actiond.enqueue('p');
begin
  perform actiond.hold(array[made], reason);
  return (select h.reason from actiond.history h where h.action_id = made);
end $$;
create view public.one as select 1 as id;
-- What a daemon does with a plan, to its end: asks for its statements, and executes them.
create function public.texts_of(plan text) returns text language plpgsql as $$
declare made record; seen record;
begin
  select t.* into made from actiond.plan_texts(plan, '{id}', array['int4'::regtype::oid::text]) t;
  execute made.preview into seen using 5;
  execute made.counted into seen;
  execute made.first into seen using 1, 'p';
  if made.next is not null then execute made.next into seen using 1, 'p', '0'; end if;
  return '';
end $$;
insert into actiond.processor (name) values ('p');
insert into actiond.action (processor) values ('p');
insert into actiond.schedule (name, processor, every) values ('night', 'p', '1 d');
insert into actiond.plan (name, source, processor) values ('monthly', 'public.one', 'p');
"""
#: Where a constraint or a trigger has the whole say, and no text of the corpus is one of the few that may be there.
NOTHING_FREE = {
    "action.trace", "action.waits_for", "action.status", "action.created_by", "processor.backoff", "processor.history",
    "processor.rate", "processor.window", "schedule.missed", "schedule.overlap", "schedule.timezone",
    "plan.overlap", "plan.then_on", "plan.notify", "plan.flag", "schedule.flag",
}  # fmt: skip
