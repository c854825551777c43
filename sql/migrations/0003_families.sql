-- Families: an action made by an action, and an action that waits for others.
--
--   parent_id  who made it. No foreign key: children that end would lock the parent's row against its own outcome.
--   waits_for  children: held until none of its own children is open, then it runs again with its state
--              success, failure, end: held until the action in waits_on has completed, has failed or was canceled, or
--              either; if that cannot come any more it is canceled
--   waits_on   that other action. Always an older one, so no circle can be made.
--
-- Whoever waits is held, so the claim knows nothing of all this. Who is released when: sql/release.sql.
alter table actiond.action
  add column parent_id bigint,
  add column waits_for text,
  add column waits_on  bigint,
  add constraint waits_for_is_known check (waits_for in ('children', 'success', 'failure', 'end')),
  add constraint waits_on_names_what_is_waited_for
    check ((waits_on is not null) = (coalesce(waits_for, 'children') <> 'children')),
  add constraint waits_on_is_an_older_action check (waits_on < id),
  add constraint parent_is_an_older_action   check (parent_id < id),
  add constraint who_waits_is_held           check (waits_for is null or status = 'held');

create index action_children on actiond.action (parent_id, status) where parent_id is not null;
create index action_waits_on on actiond.action (waits_on) where waits_on is not null;
create index action_waiting  on actiond.action (id) where waits_for is not null;
