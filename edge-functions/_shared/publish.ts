import { Refusal } from "./answer.ts";
import { rpc, serverKey } from "./rpc.ts";
import type { Json } from "../../supabase/database.types.ts";

export type IntentMessage = {
  tenant: string;
  idempotency_key: string | undefined;
  payload: { intent: string; payload: { [field: string]: Json | undefined } };
  project_id: string | undefined;
  priority: number | undefined;
};

export type Accepted = { id: number; trace_id: string; attached: boolean };

/** As many undecided intents a tenant may have as agent-core lets it have. */
const MOST_UNDECIDED = 500;
/** The database asks to come again when the limit came near while it looked. */
const MOST_TRIES = 5;

/** Publishes an intent, with the rights of this server: whoever calls this has checked its caller. */
export async function publishIntent(
  message: IntentMessage,
  traceparent: string | null,
): Promise<Accepted> {
  const parameters = {
    p_message: {
      service: "orchestrator",
      role: "intent",
      ...message,
      traceparent: known(traceparent),
    },
    p_limit: Number(Deno.env.get("COGO_MAX_UNDECIDED_INTENTS") || MOST_UNDECIDED),
  };
  for (let n = 0; n < MOST_TRIES; n++) {
    const [row] = await rpc("intent_publish", parameters, serverKey());
    if (row?.verdict === "yes") {
      return { id: row.id, trace_id: row.trace_id, attached: row.attached };
    }
    if (row?.verdict !== "again") break;
  }
  throw new Refusal(
    429,
    "too_many_intents",
    "too many intents of this tenant wait to be decided",
    "come back in a second",
    { "retry-after": "1" },
  );
}

/** What is no trace context is as good as none: some proxy's, and not our caller's fault. */
function known(traceparent: string | null): string | undefined {
  const parts = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(traceparent ?? "");
  const zero = parts === null || /^0+$/.test(parts[1]!) || /^0+$/.test(parts[2]!);
  return zero ? undefined : traceparent!;
}
