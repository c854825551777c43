-- doctor_functions: the functions of the schema as they are.
--   no parameters
--   returns name text, body text, definer boolean (runs with its owner's rights), pinned boolean (its search_path)
--   called by: doctor_schema.functions
select p.proname::text as name, p.prosrc as body, p.prosecdef as definer,
       exists (select from unnest(p.proconfig) as c (option) where c.option like 'search_path=%') as pinned
  from pg_proc p
 where p.pronamespace = 'actiond'::regnamespace
 order by p.proname
