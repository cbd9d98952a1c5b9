import { z } from "zod";

import { answer } from "../_shared/answer.ts";
import { parseQuery } from "../_shared/body.ts";
import { keyOf } from "../_shared/caller.ts";
import { door } from "../_shared/door.ts";
import { rpc } from "../_shared/rpc.ts";
import { TraceId } from "../_shared/trace_id.ts";

const Query = z.strictObject({ trace_id: TraceId });

/** All messages and events of a trace, as far as the caller may see them. */
export const handler = door({
  GET: async (request) => {
    const { trace_id } = parseQuery(Query, request);
    return answer(await rpc("bus_trace", { p_trace_id: trace_id }, keyOf(request), request.signal));
  },
});

if (import.meta.main) Deno.serve(handler);
