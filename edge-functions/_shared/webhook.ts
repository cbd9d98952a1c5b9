import { verifySignature } from "./hmac.ts";
import { unauthenticated } from "./rpc.ts";

/** Checks that a body is signed with COGO_INTENTS_SECRET; answers a digest of the signature. */
export function signedBy(signature: string, body: Uint8Array): Promise<string> {
  const secret = Deno.env.get("COGO_INTENTS_SECRET");
  // Without a secret nothing is signed; an empty one would let everybody in.
  if (!secret) throw unauthenticated("signed requests are not accepted here");
  return verifySignature(signature, body, secret);
}
