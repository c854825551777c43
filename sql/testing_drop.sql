-- testing_drop: the command that drops a database for tests, whoever is connected to it, as text.
--   $1 its name text
--   returns command text; NULL for a name that is none of ours
--   called by: databases.drop
select case when starts_with($1::text, 'actiond_test_') then format('drop database if exists %I with (force)', $1::text)
       end as command
