-- wake: processors, look again; what the command says.
--   $1 comma list text, blank = all
--   returns nothing of use
--   called by: cli/wake
select actiond.wake($1::text)
