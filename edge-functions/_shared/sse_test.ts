import assert from "node:assert/strict";

import { pause, stream, type Told } from "./sse.ts";

Deno.test("events are written so that every client reads the same", async () => {
  async function* source(): AsyncGenerator<Told> {
    yield { comment: "following" };
    yield { id: 7, event: "end", data: { text: "two\nlines" }, retryMs: 1000 };
    yield await Promise.resolve({ data: "plain" });
  }
  const response = stream(new Request("http://x/"), source);
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  assert.equal(
    await response.text(),
    ": following\n\n" +
      'retry: 1000\nid: 7\nevent: end\ndata: {"text":"two\\nlines"}\n\n' +
      'data: "plain"\n\n',
  );
});

Deno.test("the source stops when the client goes, and makes nothing that nobody takes", async () => {
  let made = 0;
  let stopped = false;
  async function* source(gone: AbortSignal): AsyncGenerator<Told> {
    try {
      while (await pause(0, gone)) yield { data: made++ };
    } finally {
      stopped = gone.aborted;
    }
  }
  const body = stream(new Request("http://x/"), source).body!.getReader();
  await body.read();
  await body.read();
  assert.equal(made, 2);
  await body.cancel();
  assert.ok(stopped);
});

Deno.test("a pause ends at once when its client is gone", async () => {
  const gone = new AbortController();
  const waiting = pause(3_600_000, gone.signal);
  gone.abort();
  assert.equal(await waiting, false);
  assert.equal(await pause(3_600_000, gone.signal), false);
  assert.equal(await pause(1, new AbortController().signal), true);
});
