-- write_tokens: what is left in the bucket of a rate after a claim.
--   $1 processor text, $2 at timestamptz: when it was read, $3 tokens float8
--   returns nothing
--   called by: brake_store.write_tokens, in the transaction of the claim, under its lock of slots
insert into actiond.brake as b (processor, tokens, tokens_at) values ($1, $3, $2)
    on conflict (processor) do update set tokens = excluded.tokens, tokens_at = excluded.tokens_at
