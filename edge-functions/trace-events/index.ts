import { z } from "zod";

import { parseQuery } from "../_shared/body.ts";
import { keyOf } from "../_shared/caller.ts";
import { door } from "../_shared/door.ts";
import { stream } from "../_shared/sse.ts";
import { follow, look } from "../_shared/trace.ts";
import { Place, TraceId } from "../_shared/trace_id.ts";

/** Functions are stopped after some minutes; leaving before is cleaner. */
const LIFE_S = 120;

const Query = z.strictObject({
  trace_id: TraceId,
  after: Place.optional(),
  last_event_id: Place.optional(),
});

/**
 * Follows the events of a trace until it is at rest. Whoever comes back with `Last-Event-ID` gets
 * exactly what came after it.
 */
export const handler = door({
  GET: async (request) => {
    const { trace_id, after, last_event_id } = parseQuery(Query, request, "last-event-id");
    const from = last_event_id ?? after ?? 0;
    const key = keyOf(request);
    const first = await look(trace_id, from, key, request.signal);
    const lifeMs = Number(Deno.env.get("COGO_STREAM_SECONDS") || LIFE_S) * 1000;
    return stream(request, (gone) => follow({ trace: trace_id, key, first }, lifeMs, gone));
  },
});

if (import.meta.main) Deno.serve(handler);
