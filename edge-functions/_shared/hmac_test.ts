import assert from "node:assert/strict";
import { createHmac } from "node:crypto";

import { utf8 } from "./bytes.ts";
import { refusal } from "./expect_refusal.ts";
import { verifySignature } from "./hmac.ts";

const SECRET = "webhook secret";
const NOW = 1_900_000_000;
const BODY = '{"intent":"hello"}';

function hmac(time: number, body = BODY, secret = SECRET): string {
  return createHmac("sha256", secret).update(`${time}.${body}`).digest("hex");
}

const check = (header: string, body = BODY) => verifySignature(header, utf8(body), SECRET, NOW);

Deno.test("a signature of this body, this secret and these five minutes is right", async () => {
  for (const time of [NOW, NOW - 299, NOW + 299]) {
    assert.match(await check(`t=${time},v1=${hmac(time)}`), /^[0-9a-f]{64}$/);
  }
});

Deno.test("however it is written, the same signature has the same digest", async () => {
  const one = hmac(NOW);
  const digest = await check(`t=${NOW},v1=${one}`);
  for (
    const header of [
      `v1=${one.toUpperCase()}, t=${NOW}`,
      `t=${NOW},v1=${hmac(NOW, BODY, "the next secret")},v1=${one}`,
      `t=${NOW},v0=x,v1=${one}`,
    ]
  ) {
    assert.equal(await check(header), digest);
  }
  assert.notEqual(await check(`t=${NOW - 1},v1=${hmac(NOW - 1)}`), digest);
});

Deno.test("everything else is refused", async () => {
  const right = hmac(NOW);
  for (
    const header of [
      "",
      "hello",
      `t=${NOW}`,
      `v1=${right}`,
      `t=,v1=${right}`,
      `t=x,v1=${right}`,
      `t=${NOW},t=${NOW},v1=${right}`,
      `t=${NOW},v1=`,
      `t=${NOW},v1=zz`,
      `t=${NOW},v1=${right.slice(2)}`,
      `t=${NOW},v1=${right}00`,
      `t=${NOW},v1=${hmac(NOW, BODY, "another")}`,
      `t=${NOW + 1},v1=${right}`,
      `t=${NOW - 301},v1=${hmac(NOW - 301)}`,
      `t=${NOW + 301},v1=${hmac(NOW + 301)}`,
    ]
  ) {
    const refused = await refusal(401, () => check(header));
    assert.ok(!refused.message.includes(SECRET), header);
  }
  await refusal(401, () => check(`t=${NOW},v1=${right}`, BODY + " "));
});
