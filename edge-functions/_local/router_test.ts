import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { Buffer } from "node:buffer";

import { answer } from "../_shared/answer.ts";
import { lazily, listed } from "./functions.ts";
import { router } from "./router.ts";

const SECRET = "a secret of at least thirty-two characters";
Deno.env.set("SUPABASE_JWT_SECRET", SECRET);
Deno.env.set("SUPABASE_SERVICE_ROLE_KEY", "sb_secret_of_this_test");

const well = () => Promise.resolve(answer({ well: true }));
const serve = router(
  new Map([
    ["open-one", { handler: well, verifyJwt: false }],
    ["closed-one", { handler: well, verifyJwt: true }],
    ["broken", { handler: lazily(new URL("./nowhere.ts", import.meta.url)), verifyJwt: false }],
    ["throwing", { handler: () => Promise.reject(new Error("x")), verifyJwt: false }],
  ]),
);

async function asked(
  path: string,
  options?: RequestInit,
): Promise<[number, Record<string, unknown>]> {
  const response = await serve(new Request(`http://x${path}`, options));
  return [response.status, await response.json()];
}

function bearer(secret: string): RequestInit {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256" })}.${part({ role: "anon", exp: 4e9 })}`;
  const signature = createHmac("sha256", secret).update(text).digest("base64url");
  return { headers: { authorization: `Bearer ${text}.${signature}` } };
}

Deno.test("a function is found under both of its addresses", async () => {
  for (const path of ["/open-one", "/functions/v1/open-one", "/open-one/more?x=1"]) {
    assert.deepEqual(await asked(path), [200, { well: true }], path);
  }
});

Deno.test("an unknown function is answered with the nearest", async () => {
  const [status, told] = await asked("/functions/v1/opne-one");
  assert.deepEqual([status, told.hint], [404, "did you mean `open-one`?"]);
  assert.equal((await asked("/"))[0], 404);
});

Deno.test("where a token is asked for, one of ours is", async () => {
  assert.equal((await asked("/closed-one"))[0], 401);
  assert.equal((await asked("/closed-one", bearer("another secret")))[0], 401);
  // As on the platform: who it is of is the function's to ask.
  assert.equal((await asked("/closed-one", bearer(SECRET)))[0], 200);
  const server = { headers: { apikey: "sb_secret_of_this_test" } };
  assert.equal((await asked("/closed-one", server))[0], 200);
  assert.equal((await asked("/closed-one", { method: "OPTIONS" }))[0], 200);
});

Deno.test("what is broken fails alone", async () => {
  assert.equal((await asked("/broken"))[0], 500);
  assert.equal((await asked("/throwing"))[0], 500);
  assert.equal((await asked("/open-one"))[0], 200);
  assert.equal((await asked("/health"))[0], 200);
});

Deno.test("every function of the project is listed, and what is listed is there", async () => {
  const functions = await listed(new URL("../../supabase/config.toml", import.meta.url));
  const folders = [];
  for await (const entry of Deno.readDir(new URL("..", import.meta.url))) {
    if (entry.isDirectory && !entry.name.startsWith("_")) folders.push(entry.name);
  }
  assert.deepEqual(functions.map(({ name }) => name).sort(), folders.sort());
  for (const { entrypoint } of functions) {
    const { handler } = await import(entrypoint.href);
    assert.equal(typeof handler, "function", entrypoint.href);
  }
});
