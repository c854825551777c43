-- The books of migrate itself: before everything else, and harmless when repeated.
do $$
begin
  -- Asked first: `if not exists` wants the right to create schemas even where there is nothing to create.
  if pg_catalog.to_regnamespace('actiond') is null then
    create schema actiond;
  end if;
end $$;
create table if not exists actiond.migration (
  version    integer     primary key,   -- 0 = the functions as a whole
  name       text        not null,
  sha256     text        not null,
  applied_at timestamptz not null default pg_catalog.clock_timestamp()
);
