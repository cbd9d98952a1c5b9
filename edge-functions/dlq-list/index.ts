import { z } from "zod";

import { answer } from "../_shared/answer.ts";
import { parseQuery } from "../_shared/body.ts";
import { keyOf, Tenant } from "../_shared/caller.ts";
import { door } from "../_shared/door.ts";
import { rpc } from "../_shared/rpc.ts";
import { TraceId } from "../_shared/trace_id.ts";

const Query = z.strictObject({
  service: z.string().max(63).optional(),
  role: z.string().max(63).optional(),
  reason: z.string().max(255).optional(),
  tenant: Tenant.optional(),
  trace_id: TraceId.optional(),
  open_only: z.enum(["true", "false"]).optional(),
  limit: z.coerce.number().int().min(1).max(1000).optional(),
  before: z.coerce.number().int().min(0).optional(),
});

/** Dead letters, the latest first, as far as the caller may see them. */
export const handler = door({
  GET: async (request) => {
    const filter = parseQuery(Query, request);
    return answer(
      await rpc("bus_dead_letters", { p_filter: filter }, keyOf(request), request.signal),
    );
  },
});

if (import.meta.main) Deno.serve(handler);
