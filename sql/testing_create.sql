-- testing_create: the command that makes a database, as text: it takes no parameters of its own.
--   $1 its name text, $2 the database to copy text
--   returns command text
--   called by: databases.create
select format('create database %I template %I', $1::text, $2::text) as command
