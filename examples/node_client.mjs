// Asking for work from Node: npm install pg; node examples/node_client.mjs
import pg from "pg";

const client = new pg.Client({ connectionString: process.env.ACTIOND_DSN });
await client.connect();
await client.query("begin");
const { rows } = await client.query(
  "insert into actiond.action (processor, data, related) values ($1, $2, $3) returning id",
  ["welcome", { to: "ada@example.org" }, "customer 1"],
);
await client.query("commit");
console.log("asked for", rows[0].id);
await client.end();
