import { answer, Refusal, refused } from "../_shared/answer.ts";
import { claimsOf } from "../_shared/caller.ts";
import { corsHeaders } from "../_shared/cors.ts";
import type { Handler } from "../_shared/door.ts";
import { nearest } from "../_shared/nearest.ts";

export type Function = { handler: Handler; verifyJwt: boolean };

/** One server for all functions, as Supabase's gateway and runtime are together. */
export function router(functions: Map<string, Function>): Handler {
  return async (request) => {
    const path = new URL(request.url).pathname.replace(/^\/functions\/v1(?=\/|$)/, "");
    const name = path.split("/")[1] ?? "";
    if (path === "/health") return answer({ status: "ok", functions: [...functions.keys()] });
    try {
      const one = functions.get(name);
      if (one === undefined) throw unknown(name, [...functions.keys()]);
      // A browser asks without a token whether it may ask with one.
      if (one.verifyJwt && request.method !== "OPTIONS") await claimsOf(request);
      return await one.handler(request);
    } catch (error) {
      const response = refused(error);
      for (const [header, value] of Object.entries(corsHeaders(request, []))) {
        response.headers.set(header, value);
      }
      return response;
    }
  };
}

function unknown(name: string, known: string[]): Refusal {
  const meant = nearest(name, known);
  return new Refusal(
    404,
    "function_unknown",
    `there is no function \`${name.slice(0, 100)}\``,
    meant === undefined ? `there are ${known.join(", ")}` : `did you mean \`${meant}\`?`,
  );
}
