import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { Buffer } from "node:buffer";

import { refusal } from "./expect_refusal.ts";
import { algorithmOf, verifyHs256 } from "./jwt.ts";

const SECRET = "a secret of at least thirty-two characters";
const NOW = 1_900_000_000;

function signed(claims: unknown, header: unknown = { alg: "HS256" }, secret = SECRET): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part(header)}.${part(claims)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

const check = (token: string) => verifyHs256(token, SECRET, NOW);

Deno.test("a token that the secret signed says what it says until it expires", async () => {
  const claims = { role: "authenticated", tenant: "acme", exp: NOW + 60 };
  assert.deepEqual(await check(signed(claims)), claims);
  // As much as PostgREST forgives.
  await check(signed({ ...claims, exp: NOW - 29 }));
  await refusal(401, () => check(signed({ ...claims, exp: NOW - 31 })));
  await check(signed({ ...claims, nbf: NOW + 29 }));
  await refusal(401, () => check(signed({ ...claims, nbf: NOW + 31 })));
});

Deno.test("nobody gets in with a token of their own making", async () => {
  const claims = { role: "service_role", exp: NOW + 60 };
  const right = signed(claims);
  const [header, body, signature] = right.split(".");
  const other = signed({ role: "service_role", exp: NOW + 61 }).split(".")[1];
  for (
    const [what, token] of Object.entries({
      "another secret": signed(claims, { alg: "HS256" }, "another"),
      "no algorithm": signed(claims, { alg: "none" }),
      "no signature": `${header}.${body}.`,
      "another body": `${header}.${other}.${signature}`,
      "a public key's algorithm": signed(claims, { alg: "RS256" }),
      "another hash": signed(claims, { alg: "HS512" }),
      "no expiry": signed({ role: "service_role" }),
      "an expiry that is no number": signed({ ...claims, exp: "never" }),
      "claims that are none": signed(null),
      "two parts": `${header}.${body}`,
      "four parts": `${right}.x`,
      "nothing": "",
      "text": "hello",
      "not base64": "!.!.!",
      "far too long": `${header}.${"a".repeat(20_000)}.${signature}`,
    })
  ) {
    const refused = await refusal(401, () => check(token));
    assert.ok(!refused.message.includes(SECRET), what);
  }
});

Deno.test("what a token claims to be signed with is read without believing it", () => {
  assert.equal(algorithmOf(signed({}, { alg: "ES256" })), "ES256");
  assert.equal(algorithmOf(signed({}, { alg: 7 })), null);
  assert.equal(algorithmOf("sb_secret_abc"), null);
});
