-- Events, and the feed of outcomes.
--
-- Who is to hear of an event: for each of these rows actiond.publish(event, ...) inserts an action of the processor.
create table actiond.subscription (
  event      text        not null,
  processor  text        not null,
  created_at timestamptz not null default pg_catalog.now(),
  created_by text        not null default session_user,
  primary key (event, processor),
  constraint event_is_1_to_255_characters     check (length(event) between 1 and 255 and event !~ '[,\s]'),
  constraint processor_is_1_to_255_characters check (length(processor) between 1 and 255 and processor !~ '[,\s]')
);

-- Which transaction wrote the entry. Ids are drawn long before they are committed, so who reads history by id alone passes
-- by what commits late; see sql/functions/096_feed.sql. Entries from before count as written by this migration.
alter table actiond.history add column xid xid8 not null default pg_catalog.pg_current_xact_id();
create index history_outcome on actiond.history (xid, id)
  where event in ('completed', 'failed', 'retried', 'deferred', 'repeated', 'canceled', 'crashed');
