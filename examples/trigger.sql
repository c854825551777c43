-- Every new order asks for its receipt, in the transaction that creates it. Run with: psql -f examples/trigger.sql
begin;

create schema if not exists shop;
create table if not exists shop.orders (id bigint generated always as identity primary key, email text not null);

create or replace function shop.ask_for_receipt() returns trigger language plpgsql as $$
begin
  insert into actiond.action (processor, data, related)
  select 'send_receipt', jsonb_build_object('order', id, 'to', email), 'order ' || id from fresh;
  return null;
end $$;

create or replace trigger ask_for_receipt
  after insert on shop.orders
  referencing new table as fresh
  for each statement execute function shop.ask_for_receipt();

insert into shop.orders (email) values ('ada@example.org'), ('bob@example.org');

commit;

select id, processor, related, status, data from actiond.action_list where processor = 'send_receipt' order by id desc;
