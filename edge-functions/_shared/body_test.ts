import assert from "node:assert/strict";
import { z } from "zod";

import { parseBody, parseQuery, readBody } from "./body.ts";
import { utf8 } from "./bytes.ts";
import { refusal } from "./expect_refusal.ts";

const Thing = z.strictObject({
  intent: z.string(),
  payload: z.record(z.string(), z.any()).optional(),
});

function posted(body: BodyInit, type = "application/json"): Request {
  const options = { method: "POST", body, headers: { "content-type": type }, duplex: "half" };
  return new Request("http://x/", options);
}

Deno.test("a body may be as large as told and not a byte larger", async () => {
  assert.equal((await readBody(posted("x".repeat(10)), 10)).byteLength, 10);
  await refusal(413, () => readBody(posted("x".repeat(11)), 10));
});

Deno.test("a body without a length is read no further than it may go", async () => {
  let made = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(out) {
      made += 1;
      out.enqueue(new Uint8Array(1000));
    },
  });
  await refusal(413, () => readBody(posted(endless), 10_000));
  assert.ok(made < 20, `${made} parts were made`);
});

Deno.test("only what says it is JSON is read", async () => {
  for (const type of ["text/plain", "application/x-www-form-urlencoded", ""]) {
    await refusal(415, () => readBody(posted("{}", type)));
  }
  await readBody(posted("{}", "Application/JSON; charset=utf-8"));
});

Deno.test("a field that nobody knows is answered with the nearest known one", async () => {
  for (
    const [given, hint] of [
      ["intnet", "did you mean `intent`?"],
      ["Payload", "did you mean `payload`?"],
      ["colour", "known are intent, payload"],
    ] as const
  ) {
    const body = utf8(JSON.stringify({ intent: "x", [given]: 1 }));
    const refused = await refusal(400, () => parseBody(Thing, body));
    assert.deepEqual([refused.message, refused.hint], [`unknown field \`${given}\``, hint]);
  }
});

Deno.test("what is no JSON object of the right kind is refused with its place", async () => {
  for (
    const [text, said] of [
      ["", "cannot be read"],
      ["{", "cannot be read"],
      ["[]", "the body: "],
      ["null", "the body: "],
      ['{"intent": 1}', "`intent`"],
      ['{"payload": {}}', "`intent`"],
      ['{"intent": "x", "payload": [1]}', "`payload`"],
      [`{"intent": "x", "payload": {"a": ${"[".repeat(100)}${"]".repeat(100)}}}`, "nested deeper"],
      ['{"intent": "x", "payload": {"n": 1e999}}', "a number is too large"],
    ] as const
  ) {
    const refused = await refusal(400, () => parseBody(Thing, utf8(text)));
    assert.ok(refused.message.includes(said), `${text.slice(0, 60)}: ${refused.message}`);
  }
  await refusal(400, () => parseBody(Thing, new Uint8Array([0x22, 0xff, 0x22])));
});

Deno.test("brackets inside of texts do not nest", () => {
  const payload = { a: `${"[".repeat(500)}"\\` };
  assert.deepEqual(
    parseBody(Thing, utf8(JSON.stringify({ intent: "x", payload }))).payload,
    payload,
  );
});

Deno.test("numbers are handed on as they were written", () => {
  const numbers = '{"a":12345678901234567890,"b":0.1234567890123456789,"c":1.50,"d":-0,"e":3}';
  const given = parseBody(Thing, utf8(`{"intent":"x","payload":${numbers}}`));
  const expected = numbers.replace("1.50", "1.5").replace("-0", "0");
  assert.equal(JSON.stringify(given.payload), expected);
});

Deno.test("a query is taken by the same rules, and a header may count as one of its parts", async () => {
  const Query = z.strictObject({
    after: z.string().optional(),
    last_event_id: z.string().optional(),
  });
  const asked = (query: string, headers = {}) => new Request(`http://x/?${query}`, { headers });
  assert.deepEqual(parseQuery(Query, asked("after=3")), { after: "3" });
  const from = parseQuery(Query, asked("after=3", { "last-event-id": "7" }), "last-event-id");
  assert.deepEqual(from, { after: "3", last_event_id: "7" });
  const empty = parseQuery(Query, asked("", { "last-event-id": "" }), "last-event-id");
  assert.deepEqual(empty, {});
  const twice = await refusal(400, () => parseQuery(Query, asked("after=1&after=2")));
  assert.equal(twice.message, "`after` was given twice");
  const unknown = await refusal(400, () => parseQuery(Query, asked("afer=1")));
  assert.equal(unknown.hint, "did you mean `after`?");
});
