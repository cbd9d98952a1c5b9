import { fromHex, joined, toHex, utf8 } from "./bytes.ts";
import { unauthenticated } from "./rpc.ts";

const WINDOW_S = 300;

/**
 * Checks `x-cogo-signature: t=<unix seconds>,v1=<hex>`, where v1 is the HMAC-SHA256 of `<t>.<body>`.
 * Several v1 may stand there while a secret is being changed. Answers a digest of the signature: the
 * same request has the same, so whoever remembers it knows a replay.
 */
export async function verifySignature(
  header: string,
  body: Uint8Array,
  secret: string,
  now = Date.now() / 1000,
): Promise<string> {
  const parts = header.split(",").map((part) => part.trim().split("=", 2));
  const times = parts.filter(([name]) => name === "t").map(([, value]) => value ?? "");
  const given = parts.filter(([name]) => name === "v1").map(([, value]) => fromHex(value ?? ""));
  if (times.length !== 1 || !/^[0-9]{1,12}$/.test(times[0]!) || given.length === 0) {
    throw unauthenticated("`x-cogo-signature` is not `t=<unix seconds>,v1=<hex>`");
  }
  if (Math.abs(now - Number(times[0])) > WINDOW_S) {
    throw unauthenticated(`the signature is not of the last ${WINDOW_S / 60} minutes`);
  }
  const key = await crypto.subtle.importKey(
    "raw",
    utf8(secret),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign", "verify"],
  );
  const signed = joined([utf8(`${times[0]}.`), body]);
  let right = false;
  for (const one of given) {
    // In constant time, and every one of them.
    right = (one !== null && await crypto.subtle.verify("HMAC", key, one, signed)) || right;
  }
  if (!right) throw unauthenticated("the signature is not of this body and our secret");
  // Of our own signature, not of the header, which can be written in many ways.
  const signature = await crypto.subtle.sign("HMAC", key, signed);
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", signature)));
}
