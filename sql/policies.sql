-- policies: the policy in force of every processor, or of one, a row a knob.
--   $1 processor text, or NULL
--   returns processor, knob, value, origin
--   called by: read.policies
select v.processor, v.knob, v.value, v.origin from actiond.processor_policy v
 where ($1::text is null or v.processor = $1) and v.value is not null
 order by v.processor, v.knob
