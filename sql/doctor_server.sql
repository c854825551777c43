-- doctor_server: what the server is set to for a session without settings of its own, and how full it is.
--   no parameters
--   returns one row: server_at float8 (seconds since 1970, by the one clock), the settings, superuser, standby,
--     queue (share of the notification queue in use), sessions, ours (those of daemons), room (for sessions)
--   called by: doctor
select extract(epoch from actiond.now())::float8 as server_at,
       current_setting('fsync')::boolean and current_setting('full_page_writes')::boolean as durable,
       current_setting('synchronous_commit') <> 'off' as synchronous,
       current_setting('autovacuum')::boolean as autovacuum,
       current_setting('default_transaction_isolation') as isolation,
       current_setting('default_transaction_read_only')::boolean as read_only,
       current_setting('idle_in_transaction_session_timeout') <> '0' as forgotten_transactions_end,
       (select r.rolsuper from pg_roles r where r.rolname = current_user) as superuser,
       pg_is_in_recovery() as standby,
       pg_notification_queue_usage()::float8 as queue,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as room,
       (select count(*) from pg_stat_activity a where a.backend_type = 'client backend')::int as sessions,
       (select count(*) from pg_stat_activity a
         where a.application_name in ('actiond work', 'actiond presence', 'actiond handler'))::int as ours
