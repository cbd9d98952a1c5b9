import { z } from "zod";

import { Refusal } from "./answer.ts";
import { utf8 } from "./bytes.ts";
import { algorithmOf, type Claims, verifyHs256 } from "./jwt.ts";
import { rpc, serverKey, unauthenticated } from "./rpc.ts";

/** Who is calling: a server may act for every tenant, a user for one. */
export type Caller = { kind: "server" } | { kind: "user"; tenant: string };

export const Tenant = z.string().regex(
  /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/,
  "must be 1 to 128 letters, digits or `_.:-`, beginning with a letter or digit",
);

/** The key or token of a request, unchecked: good for nothing but to be handed to the database. */
export function keyOf(request: Request): string {
  const bearer = /^bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  const key = bearer ?? request.headers.get("apikey");
  if (!key) throw unauthenticated("nobody is signed in");
  return key;
}

/** Who calls, verified. */
export async function callerOf(request: Request): Promise<Caller> {
  return callerWith(await claimsOf(request));
}

/**
 * What the key of a request says, verified. That the platform has checked a token (`verify_jwt`) is
 * not relied upon: one wrong line in config.toml must not open the door. With SUPABASE_JWT_SECRET a
 * token is checked here; one that is signed otherwise, or without the secret, is shown to PostgREST,
 * which checks it and answers who it is.
 */
export async function claimsOf(request: Request): Promise<Claims> {
  const key = keyOf(request);
  if (await same(key, serverKey())) return { role: "service_role" };
  const secret = Deno.env.get("SUPABASE_JWT_SECRET");
  return secret && algorithmOf(key) === "HS256"
    ? await verifyHs256(key, secret)
    : await rpc("bus_caller", {}, key) as Claims;
}

function callerWith(claims: Claims): Caller {
  switch (claims.role) {
    case "service_role":
      return { kind: "server" };
    case "authenticated":
      return { kind: "user", tenant: tenantIn(claims) };
    default:
      throw unauthenticated("nobody is signed in");
  }
}

/** Whose message it becomes, if the caller asked for `asked`. */
export function actsFor(caller: Caller, asked: string | undefined): string {
  if (caller.kind === "server") return asked ?? "default";
  if (asked !== undefined && asked !== caller.tenant) {
    throw new Refusal(
      403,
      "tenant_forbidden",
      "the token is of another tenant",
      "leave `tenant` out: it is taken from the token",
    );
  }
  return caller.tenant;
}

function tenantIn(claims: Claims): string {
  const tenant = Tenant.safeParse(claims.tenant ?? claims.app_metadata?.tenant);
  if (tenant.success) return tenant.data;
  throw new Refusal(
    403,
    "tenant_missing",
    "the token names no tenant",
    "put a `tenant` claim into the user's app_metadata and sign in again",
  );
}

/** Takes as long for a key that is almost right as for one that is not. */
async function same(one: string, other: string): Promise<boolean> {
  const digest = async (text: string) =>
    new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(text)));
  const [left, right] = await Promise.all([digest(one), digest(other)]);
  return left.reduce((differences, byte, i) => differences | (byte ^ right[i]!), 0) === 0;
}
