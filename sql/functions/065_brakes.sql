-- A breaker that opens, closes or fails a probe is news for every daemon; that it opened or closed is kept in history,
-- as a pause that nobody asked for. With the owner's rights: a daemon writes no history of processors.
create or replace function actiond.breaker_turned() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  was_open boolean := tg_op = 'UPDATE' and old.open_until is not null;
  is_open  boolean := new.open_until is not null;
begin
  if is_open <> was_open or is_open and new.open_until <> old.open_until then
    notify actiond_policy;
  end if;
  if is_open <> was_open then
    insert into actiond.history (processor, at, event, by, verb, reason, before, after)
    values (new.processor, actiond.now(), case when is_open then 'paused' else 'resumed' end, actiond.actor(),
            nullif(current_setting('actiond.verb', true), ''),
            coalesce(nullif(current_setting('actiond.reason', true), ''),
                     case when is_open then length(replace(new.recent, '+', '')) || ' of the latest ' || length(new.recent)
                                            || ' outcomes are failures' end),
            jsonb_build_object('breaker', case when was_open then 'open' else 'closed' end),
            jsonb_build_object('breaker', case when is_open then 'open' else 'closed' end));
  end if;
  return null;
end $$;

create or replace trigger breaker_turned
  after insert or update of open_until on actiond.brake
  for each row execute function actiond.breaker_turned();

-- rate_per_s('100/min'): 1.67; NULL for 'none'.
create or replace function actiond.rate_per_s(rate text) returns float8
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select split_part(rate, '/', 1)::float8
         / extract(epoch from (case when split_part(rate, '/', 2) ~ '^[0-9]' then '' else '1 ' end
                               || split_part(rate, '/', 2))::interval)::float8
   where rate <> 'none'
$$;

-- How the brakes of every processor stand that has any: what people are shown. Daemons ask sql/brake.sql.
create or replace view actiond.brake_list as
select p.name as processor, w.rate, w.burst,
       case when w.per_s is not null
            then greatest(0, (1 - b.tokens - w.per_s * greatest(0, extract(epoch from clock.at - b.tokens_at))) / w.per_s)
       end::float8 as token_in_s,                 -- 0: a row may be claimed
       case when w.share <= 0 then null when b.open_until is null then 'closed'
            when b.open_until <= clock.at and r.id is not null then 'probing' else 'open' end as breaker,
       case when w.share > 0 then b.opened_at end as opened_at,
       case when w.share > 0 and b.open_until is not null
            then greatest(0, extract(epoch from b.open_until - clock.at)) end::float8 as probe_in_s,
       coalesce(length(replace(b.recent, '+', '')), 0) as failed, coalesce(length(b.recent), 0) as outcomes,
       coalesce(b.failed_probes, 0) as failed_probes
  from (select actiond.now() as at) as clock
 cross join actiond.processor p
 cross join lateral (
   select nullif(coalesce(p.rate, p.declared ->> 'rate'), 'none') as rate,
          actiond.rate_per_s(coalesce(p.rate, p.declared ->> 'rate')) as per_s,
          coalesce(p.burst, (p.declared ->> 'burst')::int) as burst,
          coalesce(p.breaker, (p.declared ->> 'breaker')::float8, 0) as share) w
  left join actiond.brake b on b.processor = p.name
  left join actiond.run r on r.id = b.probe_run and r.finished_at is null
 where w.rate is not null or w.share > 0;
