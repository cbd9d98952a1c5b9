import { Refusal, refused } from "./answer.ts";
import { corsHeaders } from "./cors.ts";

export type Handler = (request: Request) => Promise<Response>;

/** What every function has around it: its methods, what browsers ask first, and errors as JSON. */
export function door(methods: Record<string, Handler>): Handler {
  const allowed = [...Object.keys(methods), "OPTIONS"];
  return async (request) => {
    let response: Response;
    try {
      const handle = methods[request.method];
      if (request.method === "OPTIONS") {
        response = new Response(null, { status: 204, headers: { allow: allowed.join(", ") } });
      } else if (handle === undefined) {
        throw wrongMethod(request.method, allowed);
      } else {
        response = await handle(request);
      }
    } catch (error) {
      response = refused(error);
    }
    for (const [name, value] of Object.entries(corsHeaders(request, allowed))) {
      response.headers.set(name, value);
    }
    return response;
  };
}

function wrongMethod(method: string, allowed: string[]): Refusal {
  const list = allowed.join(", ");
  return new Refusal(405, "method_not_allowed", `${method} is not for this`, `use ${list}`, {
    allow: list,
  });
}
