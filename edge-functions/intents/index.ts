import { z } from "zod";

import { answer, Refusal } from "../_shared/answer.ts";
import { parseBody, readBody } from "../_shared/body.ts";
import { actsFor, callerOf, Tenant } from "../_shared/caller.ts";
import { door } from "../_shared/door.ts";
import { givenKey, IdempotencyKey } from "../_shared/idempotency.ts";
import { publishIntent } from "../_shared/publish.ts";
import { signedBy } from "../_shared/webhook.ts";
import type { Json } from "../../supabase/database.types.ts";

/** Of any JSON: it has been read from one. */
const Payload = z.record(z.string(), z.custom<Json>());

/** What somebody wants done, by its name in the table `intents`. */
const Intent = z.strictObject({
  intent: z.string().max(255).regex(/^\P{Cc}+$/u, "must be 1 to 255 printable characters"),
  payload: Payload.default({}),
  tenant: Tenant.optional(),
  idempotency_key: IdempotencyKey.optional(),
  project_id: z.uuid().optional(),
  priority: z.int().min(-32767).max(32767).optional(),
});

/**
 * Publishes a message to orchestrator/intent. Called by users and servers with their key, or by a
 * webhook that signs its body.
 */
export const handler = door({
  POST: async (request) => {
    const signature = request.headers.get("x-cogo-signature");
    const known = signature === null ? await callerOf(request) : null;
    const body = await readBody(request);
    const digest = signature === null ? null : await signedBy(signature, body);
    const given = parseBody(Intent, body);
    const own = givenKey(request, given.idempotency_key, digest !== null);
    const { attached, ...accepted } = await publishIntent({
      tenant: actsFor(known ?? { kind: "server" }, given.tenant),
      idempotency_key: own ?? (digest === null ? undefined : `signature:${digest}`),
      payload: { intent: given.intent, payload: given.payload },
      project_id: given.project_id,
      priority: given.priority,
    }, request.headers.get("traceparent"));
    if (attached && own === undefined) {
      throw new Refusal(
        409,
        "signature_replayed",
        "this signed request was taken before",
        "sign each request anew; to send one safely again, give it an `idempotency_key`",
      );
    }
    return answer({ ...accepted, attached }, 202);
  },
});

if (import.meta.main) Deno.serve(handler);
