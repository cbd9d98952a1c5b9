import { z } from "zod";

import { answer } from "../_shared/answer.ts";
import { parseQuery } from "../_shared/body.ts";
import { keyOf } from "../_shared/caller.ts";
import { door } from "../_shared/door.ts";
import { rpc } from "../_shared/rpc.ts";

const Query = z.strictObject({});

/** How every route stands, as far as the caller may see it. */
export const handler = door({
  GET: async (request) => {
    parseQuery(Query, request);
    return answer(await rpc("bus_overview", {}, keyOf(request), request.signal));
  },
});

if (import.meta.main) Deno.serve(handler);
