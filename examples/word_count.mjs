// A processor in JavaScript, for the built-in `command`: one action a line in, one answer a line out.
//
//   insert into actiond.processor (name, uses, config)
//   values ('word_count', 'command', '{"argv": ["node", "/path/to/examples/word_count.mjs"]}');
//   insert into actiond.action (processor, data) values ('word_count', '{"text": "to be or not to be"}');
import { createInterface } from 'node:readline'

for await (const line of createInterface({ input: process.stdin })) {
  const { id, data } = JSON.parse(line)
  if (typeof data?.text !== 'string') {
    console.log(JSON.stringify({ id, error: 'there is no text', behavior: 'SUDDEN_DEATH' }))
    continue
  }
  const result = {}
  for (const word of data.text.toLowerCase().match(/\w+/g) ?? []) result[word] = (result[word] ?? 0) + 1
  console.log(JSON.stringify({ id, ok: true, result }))
}
