-- Retention: how long finished actions stay.
--
-- NULL = as declared, and where nothing is declared: for ever. What is deleted, and what with it: sql/functions/140.
alter table actiond.processor
  add column retention_completed interval,
  add column retention_failed    interval,
  add constraint retention_completed_is_positive check (retention_completed > interval '0'),
  add constraint retention_failed_is_positive    check (retention_failed > interval '0');

-- The walk through all actions, in id order, a page at a time; any daemon goes on with it.
create table actiond.purge (
  one      boolean     primary key default true,
  after    bigint      not null default 0,               -- all up to this id have been looked at
  deleted  bigint      not null default 0,               -- actions, since the walk began
  began_at timestamptz not null default '-infinity',
  due_at   timestamptz not null default '-infinity',     -- of the next page
  constraint there_is_only_one check (one)
);
insert into actiond.purge default values;
