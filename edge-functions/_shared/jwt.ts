import { fromBase64Url, utf8 } from "./bytes.ts";
import { unauthenticated } from "./rpc.ts";

export type Claims = {
  role?: unknown;
  tenant?: unknown;
  exp?: unknown;
  nbf?: unknown;
  app_metadata?: { tenant?: unknown } | null;
};

/** How far two clocks may be apart: as much as PostgREST allows. */
const LEEWAY_S = 30;
const LONGEST = 16 * 1024;

/** The algorithm a token claims to be signed with; null where it is no token. */
export function algorithmOf(token: string): string | null {
  const [header] = token.split(".");
  const alg = token.length <= LONGEST && token.split(".").length === 3 ? decoded(header!) : null;
  return typeof alg?.alg === "string" ? alg.alg : null;
}

/** What an HS256 token says, if the secret signed it and its time has not passed. */
export async function verifyHs256(
  token: string,
  secret: string,
  now = Date.now() / 1000,
): Promise<Claims> {
  const [header, body, signature] = token.split(".");
  // The algorithm is ours to choose: a token that says `none` is no token.
  if (algorithmOf(token) !== "HS256") throw unauthenticated("this is no token");
  const key = await crypto.subtle.importKey(
    "raw",
    utf8(secret),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["verify"],
  );
  const signed = utf8(`${header}.${body}`);
  const given = fromBase64Url(signature!);
  if (given === null || !(await crypto.subtle.verify("HMAC", key, given, signed))) {
    throw unauthenticated("the token's signature is not of this project");
  }
  const claims = decoded(body!) as Claims | null;
  if (claims === null || typeof claims.exp !== "number") {
    throw unauthenticated("the token does not say when it expires");
  }
  if (claims.exp + LEEWAY_S < now) throw unauthenticated("the token has expired");
  if (typeof claims.nbf === "number" && claims.nbf - LEEWAY_S > now) {
    throw unauthenticated("the token is not valid yet");
  }
  return claims;
}

function decoded(part: string): Record<string, unknown> | null {
  try {
    const value = JSON.parse(
      new TextDecoder("utf-8", { fatal: true }).decode(fromBase64Url(part)!),
    );
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}
