const DAY_S = "86400";
const HEADERS = "authorization, apikey, content-type, idempotency-key, last-event-id, " +
  "traceparent, x-client-info, x-cogo-signature";

/**
 * What a browser is told. Callers are known by a token that a page must send by itself, never by a
 * cookie, so any origin may try; COGO_CORS_ORIGINS (a list with commas) allows only some.
 */
export function corsHeaders(request: Request, methods: string[]): Record<string, string> {
  const allowed = (Deno.env.get("COGO_CORS_ORIGINS") ?? "*").split(",").map((one) => one.trim());
  const origin = request.headers.get("origin");
  const headers: Record<string, string> = { vary: "origin" };
  if (allowed.includes("*")) {
    headers["access-control-allow-origin"] = "*";
  } else if (origin !== null && allowed.includes(origin)) {
    headers["access-control-allow-origin"] = origin;
  } else {
    return headers;
  }
  headers["access-control-expose-headers"] = "retry-after";
  if (request.method === "OPTIONS") {
    headers["access-control-allow-methods"] = methods.join(", ");
    headers["access-control-allow-headers"] = HEADERS;
    headers["access-control-max-age"] = DAY_S;
  }
  return headers;
}
