-- check_constraints: deferred constraints and triggers of this transaction take place now, as whoever this is now.
--   no parameters
--   returns nothing
--   called by: role.leave
set constraints all immediate
