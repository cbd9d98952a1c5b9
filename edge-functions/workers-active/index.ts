import { z } from "zod";

import { answer } from "../_shared/answer.ts";
import { parseQuery } from "../_shared/body.ts";
import { keyOf } from "../_shared/caller.ts";
import { door } from "../_shared/door.ts";
import { rpc } from "../_shared/rpc.ts";

const Query = z.strictObject({});

/** Workers that are alive, as far as the caller may see them. */
export const handler = door({
  GET: async (request) => {
    parseQuery(Query, request);
    return answer(await rpc("bus_workers", {}, keyOf(request), request.signal));
  },
});

if (import.meta.main) Deno.serve(handler);
