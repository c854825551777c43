-- The books of migrate itself: before everything else, and harmless when repeated.
create schema if not exists actiond;
create table if not exists actiond.migration (
  version    integer     primary key,   -- 0 = the functions as a whole
  name       text        not null,
  sha256     text        not null,
  applied_at timestamptz not null default pg_catalog.clock_timestamp()
);
