import { Refusal } from "./answer.ts";
import type { Database } from "../../supabase/database.types.ts";

type Functions = Database["public"]["Functions"];

const TIMEOUT_MS = 10_000;

/** Calls one function of the database over PostgREST, as whoever the key says. */
export async function rpc<Name extends keyof Functions>(
  name: Name,
  parameters: Functions[Name]["Args"],
  key: string,
  signal?: AbortSignal,
): Promise<Functions[Name]["Returns"]> {
  const limits = [AbortSignal.timeout(TIMEOUT_MS), ...(signal === undefined ? [] : [signal])];
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${restUrl()}/rpc/${name}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...keys(key) },
      body: JSON.stringify(parameters),
      signal: AbortSignal.any(limits),
    });
    text = await response.text();
  } catch (error) {
    if (error instanceof Refusal) throw error;
    const late = error instanceof DOMException && error.name === "TimeoutError";
    throw new Refusal(
      late ? 504 : 503,
      late ? "database_slow" : "database_unreachable",
      late ? "the database did not answer in time" : "the database cannot be reached",
      "try again; it may have been done nevertheless, so use an idempotency key",
      { "retry-after": "1" },
    );
  }
  if (response.ok) return JSON.parse(text || "null");
  throw decoded(name, response.status, text);
}

/** The key of this server. It never leaves but to the database. */
export function serverKey(): string {
  const key = Deno.env.get("SUPABASE_SECRET_KEY") ?? Deno.env.get("SUPABASE_SERVICE_ROLE_KEY");
  return key || missing("SUPABASE_SERVICE_ROLE_KEY");
}

function restUrl(): string {
  const url = Deno.env.get("SUPABASE_URL") || missing("SUPABASE_URL");
  return `${url.replace(/\/$/, "")}/rest/v1`;
}

/** The gateway wants to know the project's key, PostgREST the caller's. */
function keys(key: string): Record<string, string> {
  return { apikey: Deno.env.get("SUPABASE_ANON_KEY") || key, authorization: `Bearer ${key}` };
}

function missing(name: string): never {
  console.error(`${name} is not set`);
  throw new Refusal(
    500,
    "not_configured",
    "the function lacks a setting",
    "its log says which; `supabase secrets set` sets it",
  );
}

/** By what the database says; the status it would have answered is for tables. */
const STATUS: Record<string, number> = {
  P0002: 404, // no data found
  "22023": 400, // what is wrong is in the message
  "22P02": 400, // not what its type takes
  "22P05": 400, // a character that Postgres does not store
  "25001": 500,
  "40001": 503, // somebody else was quicker; try again
  "55000": 409, // not in the state for it
  "57014": 504, // cancelled because it took too long
};

function decoded(name: string, status: number, text: string): Refusal {
  const { code = "", message = "", hint = "" } = parsed(text);
  if (code === "42501") {
    if (status === 401) return unauthenticated("nobody is signed in");
    return new Refusal(403, "forbidden", "this is not for you", "sign in as somebody who may");
  }
  if (status === 401) return unauthenticated("the token is not valid here, or has expired");
  if (code === "PGRST202") {
    console.error(`the database has no function ${name}; are all migrations applied?`);
    return new Refusal(503, "database_outdated", "the database is not ready", "apply migrations");
  }
  const known = STATUS[code];
  if (known !== undefined && known < 500) {
    const kind = { 404: "not_found", 409: "conflict" }[known] ?? "request_invalid";
    return new Refusal(known, kind, message, hint || "correct it and ask again");
  }
  console.error(`rpc ${name} failed with ${status} ${code}: ${message}`);
  return new Refusal(
    known ?? (status >= 500 ? 503 : 502),
    "database_failed",
    "the database could not do it",
    "try again; the log says why",
    { "retry-after": "1" },
  );
}

function parsed(text: string): { code?: string; message?: string; hint?: string } {
  try {
    const { code, message, hint } = JSON.parse(text);
    return { code, message, hint: hint ?? "" };
  } catch {
    return {};
  }
}

export function unauthenticated(message: string): Refusal {
  return new Refusal(401, "unauthenticated", message, "send `Authorization: Bearer <token>`", {
    "www-authenticate": "Bearer",
  });
}
