import assert from "node:assert/strict";

import { answer, Refusal } from "./answer.ts";
import { door } from "./door.ts";

const handler = door({
  GET: (request) => {
    if (request.url.endsWith("/refused")) {
      throw new Refusal(409, "taken", "no", "try", { "x-y": "z" });
    }
    if (request.url.endsWith("/broken")) throw new Error("postgres://user:password@host");
    return Promise.resolve(answer({ well: true }));
  },
});

const asked = (path: string, method = "GET", headers = {}) =>
  handler(new Request(`http://x${path}`, { method, headers }));

Deno.test("every answer may be read by a browser, errors as well", async () => {
  for (const path of ["/", "/refused", "/broken"]) {
    const response = await asked(path, "GET", { origin: "https://app.example" });
    assert.equal(response.headers.get("access-control-allow-origin"), "*", path);
    await response.body?.cancel();
  }
});

Deno.test("a preflight is answered without asking anybody", async () => {
  const response = await asked("/broken", "OPTIONS", { origin: "https://app.example" });
  assert.equal(response.status, 204);
  assert.equal(response.headers.get("access-control-allow-methods"), "GET, OPTIONS");
  assert.match(response.headers.get("access-control-allow-headers")!, /idempotency-key/);
});

Deno.test("only the origins that are named are let in, if some are", async () => {
  Deno.env.set("COGO_CORS_ORIGINS", "https://app.example, https://b.example");
  try {
    for (
      const [origin, allowed] of [["https://b.example", true], ["https://evil.example", false]]
    ) {
      const response = await asked("/", "OPTIONS", { origin });
      const told = response.headers.get("access-control-allow-origin");
      assert.equal(told, allowed ? origin : null);
      assert.equal(response.headers.get("vary"), "origin");
    }
  } finally {
    Deno.env.delete("COGO_CORS_ORIGINS");
  }
});

Deno.test("an error is code, message and hint; what is not meant for the caller stays in the log", async () => {
  const refused = await asked("/refused");
  assert.equal(refused.status, 409);
  assert.equal(refused.headers.get("x-y"), "z");
  assert.deepEqual(await refused.json(), { code: "taken", message: "no", hint: "try" });
  const broken = await asked("/broken");
  assert.equal(broken.status, 500);
  assert.ok(!(await broken.text()).includes("password"));
  const posted = await asked("/", "DELETE");
  assert.deepEqual([posted.status, posted.headers.get("allow")], [405, "GET, OPTIONS"]);
  await posted.body?.cancel();
});
