// A signed-in user of acme, one of globex, and a server, each with supabase-js, around one trace.
// Prints a line of JSON for whatever comes about. NODE_MODULES says where the library is.
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_MODULES + "/");
const { createClient } = require("@supabase/supabase-js");
const WebSocket = require("ws");

const url = process.env.SUPABASE_URL;
const options = {
  auth: { persistSession: false, autoRefreshToken: false },
  realtime: { transport: WebSocket },
};
const user = (token) =>
  createClient(url, process.env.SUPABASE_PUBLISHABLE_KEY, {
    ...options,
    accessToken: async () => token,
  });
const acme = user(process.env.ACME_TOKEN);
const globex = user(process.env.GLOBEX_TOKEN);
const server = createClient(url, process.env.SUPABASE_SECRET_KEY, options);

const tell = (what, more) => console.log(JSON.stringify({ what, ...more }));
const short = (error) => error && { code: error.code, message: error.message };

// What comes of joining, and each event after that.
const join = (client, who, topic) =>
  new Promise((joined) => {
    client.channel(topic, { config: { private: true } })
      .on("broadcast", { event: "bus_events" }, ({ payload }) => tell("heard", { who, payload }))
      .subscribe((status, error) => {
        tell("joined", { who, status, error: error?.message });
        joined();
      });
  });

const inserted = await acme.from("agent_messages")
  .insert({ service: "cogo", role: "probe", payload: { text: "hello from a browser" } })
  .select("id, trace_id, tenant, status").single();
tell("inserted", { data: inserted.data, error: short(inserted.error) });
const { id, trace_id } = inserted.data;

const watch = async (client, who) => {
  const { data, error } = await client.rpc("bus_watch", { p_trace_id: trace_id });
  tell("watched", { who, data, error: short(error) });
};
const read = async (client, who) => {
  const { data, error } = await client.from("agent_messages").select("id").eq("id", id);
  tell("read", { who, data, error: short(error) });
};

await join(globex, "globex", `trace:${trace_id}`);
await watch(globex, "globex");
await read(globex, "globex");
await join(acme, "acme for servers", `trace:${trace_id}:all`);
await join(acme, "acme", `trace:${trace_id}`);
await watch(acme, "acme");
await read(acme, "acme");
await join(server, "server", `trace:${trace_id}:all`);
await watch(server, "server");
tell("ready");

// Asked to look again once everybody has heard.
for await (const _ of process.stdin) {
  await watch(acme, "acme");
  const { data } = await acme.from("agent_messages").select("status").eq("id", id).single();
  tell("ended", { status: data.status });
  break;
}
process.exit(0);
