// Does what it is told by lines of JSON, with the real client libraries, and tells what it hears.
// NODE_MODULES says where those are.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(process.env.NODE_MODULES + "/");
const { RealtimeClient } = require("@supabase/realtime-js");
const { createClient } = require("@supabase/supabase-js");
const WebSocket = require("ws");

const channels = new Map();
let realtime;

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const acts = {
  connect({ library, url, key, token }) {
    const settings = { transport: WebSocket, reconnectAfterMs: () => 50 };
    if (library === "supabase-js") {
      realtime = createClient(url, key, { realtime: settings }).realtime;
    } else {
      realtime = new RealtimeClient(`${url.replace("http", "ws")}/realtime/v1`, {
        ...settings,
        params: { apikey: key },
      });
    }
    if (token) return realtime.setAuth(token);
  },
  subscribe({ channel: name, config, changes = [] }) {
    const channel = realtime.channel(name, { config });
    channels.set(name, channel);
    channel.on("broadcast", { event: "*" }, (broadcast) => tell({ name, broadcast }));
    channel.on("system", {}, (system) => tell({ name, system }));
    changes.forEach((filter, index) => {
      channel.on("postgres_changes", filter, (change) => tell({ name, change, index }));
    });
    channel.subscribe((status, error) => tell({ name, status, error: error?.message }));
  },
  send({ channel, event, payload }) {
    return channels.get(channel).send({ type: "broadcast", event, payload });
  },
  sendBytes({ channel, event, bytes }) {
    const payload = new Uint8Array(bytes).buffer;
    return channels.get(channel).send({ type: "broadcast", event, payload });
  },
  httpSend({ channel, event, payload }) {
    return channels.get(channel).httpSend(event, payload);
  },
  setAuth({ token }) {
    return realtime.setAuth(token);
  },
  leave({ channel }) {
    return channels.get(channel).unsubscribe();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { act, ...how } = JSON.parse(line);
  try {
    tell({ done: act, result: await acts[act](how) });
  } catch (error) {
    tell({ done: act, failed: String(error) });
  }
}
process.exit(0);
