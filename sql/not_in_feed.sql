-- not_in_feed: processors some of whose outcomes are not kept in history, and so are not in the feed.
--   $1 processor text, NULL = all
--   returns processor text, keeps text (changes: completions at the first attempt are missing; none: all are)
--   called by: feed.missing
select p.processor, p.value as keeps
  from actiond.processor_policy p
 where p.knob = 'history' and p.value <> 'all' and p.processor = coalesce($1::text, p.processor)
 order by p.processor
