-- Windows: hours of the week in which a processor claims. What rules/window.py does for the daemon, for those who look.

-- The minutes of the week, from Monday 00:00, that it names: from and to, the end not counted.
create or replace function actiond.window_spans("window" text) returns table (start integer, until integer)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  with part as (
    select (position(coalesce(m[1], 'Mon') in days) - 1) / 3 as first,
           (position(coalesce(m[2], m[1], 'Sun') in days) - 1) / 3 as last,
           m[3]::int * 60 + m[4]::int as starts, m[5]::int * 60 + m[6]::int as ends
      from (values ('MonTueWedThuFriSatSun')) as d (days),
           regexp_matches($1, '(?:([A-Z][a-z]{2})(?:-([A-Z][a-z]{2}))? )?(\d\d):(\d\d)-(\d\d):(\d\d)', 'g') as m),
  span as (
    select d % 7 * 1440 + p.starts as start,
           d % 7 * 1440 + p.ends + case when p.ends < p.starts then 1440 else 0 end as until
      from part p, generate_series(p.first, case when p.first <= p.last then p.last else p.last + 7 end) as d)
  select s.start, least(s.until, 10080) from span s
  union all
  select 0, s.until - 10080 from span s where s.until > 10080
$$;

create or replace function actiond.window_zone("window" text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select substring($1 from '[^ ]+$') $$;

-- What the clock on the wall of a zone shows, in minutes of the week.
create or replace function actiond.week_minute(wall timestamp) returns integer
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select floor(extract(epoch from $1 - date_trunc('week', $1)) / 60)::integer $$;

-- window_opens_at('22:00-06:00 Europe/Berlin', actiond.now()): that time itself if it is open then, else when it opens.
-- NULL and 'none' are always open; so is, for those who look, a zone that the code declares and this server lacks.
create or replace function actiond.window_opens_at("window" text, at timestamptz) returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  zone   text := actiond.window_zone("window");
  starts integer[];
  spans  int4multirange;
begin
  if "window" is null or "window" = 'none' then
    return at;
  end if;
  select array_agg(s.start), range_agg(int4range(s.start, s.until)) into starts, spans from actiond.window_spans("window") s;
  if spans @> actiond.week_minute(at at time zone zone) then
    return at;
  end if;
  -- On a day whose clocks are not set, only a start can be it; on others, any minute. Sixteen days are enough: hours of
  -- one day of the week that the clocks skip come a week later.
  return (
    with day as (
      select d.at, d.at at time zone zone - d.at at time zone 'UTC' as before,
             (d.at + interval '24 hours') at time zone zone - (d.at + interval '24 hours') at time zone 'UTC' as after
        from (select date_trunc('hour', window_opens_at.at) + n * interval '24 hours' as at from generate_series(0, 16) as n) d),
    minute as (
      select m.at from day d
       cross join lateral (
         select (w.week + (s.start + w.again * 10080) * interval '1 minute' - d.before) at time zone 'UTC' as at
           from unnest(starts) as s (start),
                (select date_trunc('week', d.at at time zone zone) as week, again from generate_series(0, 1) as again) w
          where d.before = d.after
         union all
         select m from generate_series(d.at, d.at + interval '24 hours', interval '1 minute') as m
          where d.before <> d.after) m
       where m.at >= d.at and m.at <= d.at + interval '24 hours')
    select min(m.at) from minute m
     where m.at > window_opens_at.at and spans @> actiond.week_minute(m.at at time zone zone));
exception when invalid_parameter_value then
  return at;
end $$;

-- A zone that nobody knows would shut a processor for ever.
create or replace function actiond.check_window() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  zone text := actiond.window_zone(new."window");
begin
  if new."window" <> 'none' and not exists (select from pg_timezone_names n where n.name = zone) then
    raise exception 'there is no time zone %', quote_literal(zone)
      using errcode = 'AC006', hint = 'Write an IANA name such as Europe/Berlin.';
  end if;
  return new;
end $$;

create or replace trigger processor_window_checked
  before insert or update of "window" on actiond.processor
  for each row when (new."window" is not null)
  execute function actiond.check_window();

-- What flag and window say of every processor that has any: what people are shown. Daemons compute it themselves.
create or replace view actiond.switch_list as
select g.processor, g.flag, g.flag_on, g."window",
       case when o.opens_at > g.at then o.opens_at end as opens_at,                    -- NULL: it is open, or has no window
       case when o.opens_at > g.at then extract(epoch from o.opens_at - g.at) end::float8 as opens_in_s
  from (select p.name as processor, f.flag, actiond.flag_on(f.flag) as flag_on, f."window", clock.at
          from (select actiond.now() as at) as clock
         cross join actiond.processor p
         cross join lateral (
           select nullif(coalesce(p.flag, p.declared ->> 'flag'), 'none') as flag,
                  nullif(coalesce(p."window", p.declared ->> 'window'), 'none') as "window") f
         where f.flag is not null or f."window" is not null) g
 cross join lateral (select actiond.window_opens_at(g."window", g.at) as opens_at) o;
