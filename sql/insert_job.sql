-- insert_job: an action with the settings of a job.
--   $1 processor text, $2 data text (JSON), $3 due at timestamptz (NULL = now), $4 state text (JSON), $5 retries left int,
--   $6 parent bigint, $7 repeat every float8 (seconds)
--   returns id bigint
--   called by: job_builder
insert into actiond.action (processor, data, next_eligible_at, state, retries_left, parent_id, repeat_every)
values ($1, $2::text::jsonb, coalesce($3, actiond.now()), $4::text::jsonb, $5::int, $6::bigint,
        $7::float8 * interval '1 second')
returning id
