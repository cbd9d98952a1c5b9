/**
 * Inserts a message and watches its trace to the end, with nothing but supabase-js:
 *   SUPABASE_URL=… SUPABASE_ANON_KEY=… TOKEN=<a user's> deno run --allow-env --allow-net \
 *     --config edge-functions/deno.json supabase/examples/watch.ts "hello"
 */
import { createClient, type SupabaseClient } from "@supabase/supabase-js";

import type { Database } from "../database.types.ts";

type BusEvent = Database["public"]["Tables"]["bus_events"]["Row"];
type Page = { events: BusEvent[]; at_rest: boolean; next: number };
type Client = SupabaseClient<Database>;

/** How late an event can be when no ring comes, or Realtime is away. */
const POLL_MS = 1_000;

async function main(text: string): Promise<void> {
  const token = setting("TOKEN");
  const client: Client = createClient<Database>(
    setting("SUPABASE_URL"),
    setting("SUPABASE_ANON_KEY"),
    {
      accessToken: () => Promise.resolve(token),
    },
  );
  const { data, error } = await client.from("agent_messages")
    .insert({ service: "example", role: "echo", payload: { text } })
    .select("id, trace_id").single();
  if (error) throw new Error(`the message was not taken: ${error.message}`);
  console.log(`message ${data.id}, trace ${data.trace_id}`);

  for await (const event of watch(client, data.trace_id!)) {
    console.log(`${event.id} ${event.event_type}`);
  }
  console.log("at rest");
  await client.removeAllChannels();
}

/** Every event of a trace once, in order. Realtime only rings; what happened is read from the table. */
async function* watch(client: Client, trace: string): AsyncGenerator<BusEvent> {
  const bell = new Bell();
  // The events of a trace are sent only while somebody watches it, for ten minutes each time.
  const watchOn = () => client.rpc("bus_watch", { p_trace_id: trace }).then(() => bell.ring());
  const channel = client.channel(`trace:${trace}`, { config: { private: true } })
    .on("broadcast", { event: "bus_events" }, () => bell.ring())
    .subscribe((status) => {
      // Only now, so that nothing happens unheard between the two; it also rings for what did before.
      if (status === "SUBSCRIBED") watchOn();
    });
  const again = setInterval(watchOn, 5 * 60_000);
  let after = 0;
  try {
    while (true) {
      const page = await look(client, trace, after);
      yield* page.events;
      after = page.next;
      if (page.at_rest) return;
      if (page.events.length === 0) await bell.rung(POLL_MS);
    }
  } finally {
    clearInterval(again);
    await client.removeChannel(channel);
  }
}

async function look(client: Client, trace: string, after: number): Promise<Page> {
  const { data, error } = await client.rpc("bus_trace_events", {
    p_trace_id: trace,
    p_after: after,
  });
  if (error) throw new Error(`the trace cannot be read: ${error.message}`);
  return data as unknown as Page;
}

/** Wakes whoever waits; a ring that comes while nobody does is kept for the next. */
class Bell {
  #kept = false;
  #wake?: () => void;

  ring(): void {
    this.#kept = true;
    this.#wake?.();
  }

  async rung(mostMs: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    if (!this.#kept) {
      await new Promise<void>((wake) => {
        this.#wake = wake;
        timer = setTimeout(wake, mostMs);
      });
    }
    clearTimeout(timer);
    this.#kept = false;
  }
}

function setting(name: string): string {
  const value = Deno.env.get(name);
  if (value) return value;
  console.error(`${name} is not set; see the first lines of this file`);
  Deno.exit(2);
}

await main(Deno.args[0] ?? "hello");
// Realtime keeps trying to connect where there is none.
Deno.exit(0);
