import { z } from "zod";

import { answer } from "../_shared/answer.ts";
import { parseBody, readBody } from "../_shared/body.ts";
import { keyOf } from "../_shared/caller.ts";
import { door } from "../_shared/door.ts";
import { rpc } from "../_shared/rpc.ts";

const Retry = z.strictObject({ message_id: z.int().min(1) });
const MOST_BYTES = 1024;

/** Replays a dead letter, once: a second call answers with the first one's message. */
export const handler = door({
  POST: async (request) => {
    const key = keyOf(request);
    const { message_id } = parseBody(Retry, await readBody(request, MOST_BYTES));
    return answer(await rpc("bus_retry", { p_message_id: message_id }, key));
  },
});

if (import.meta.main) Deno.serve(handler);
