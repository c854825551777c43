-- Recurring actions: one row that runs again and again, on a grid.
--
--   repeat_every   success puts the row back to pending at the next time of its grid, with its retries anew; so does a
--                  failure without retries left, which keeps its error. Plain durations: calendars are for schedules.
--   repeat_missed  false: times of the grid that have passed are left out; true: each is made up for, one after the other
--   repeat_slot    the time of the grid that a retry or a deferral belongs to; NULL: next_eligible_at is on the grid
alter table actiond.action
  add column repeat_every  interval,
  add column repeat_missed boolean,
  add column repeat_slot   timestamptz,
  add constraint repeat_every_is_at_least_a_second
    check (repeat_every >= interval '1 second' and extract(month from repeat_every) = 0 and extract(year from repeat_every) = 0);
