// Talks to the local stack as any client of Supabase does. Prints one line of JSON for each thing
// it tried: what came back, or how it failed. NODE_MODULES says where the client library is.
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_MODULES + "/");
const { createClient } = require("@supabase/supabase-js");

const url = process.env.SUPABASE_URL;
const options = { auth: { persistSession: false, autoRefreshToken: false } };
const service = createClient(url, process.env.SUPABASE_SECRET_KEY, options);
const anon = createClient(url, process.env.SUPABASE_PUBLISHABLE_KEY, options);
const legacy = createClient(url, process.env.SUPABASE_ANON_KEY, options);
const stranger = createClient(url, "sb_secret_of_somebody_else", options);
const user = createClient(url, process.env.SUPABASE_PUBLISHABLE_KEY, {
  ...options,
  accessToken: async () => process.env.USER_TOKEN,
});

const things = (client) => client.from("things");

const tries = {
  insert: () => things(service).insert({ k: "a", n: 1 }).select("k,n,note").single(),
  bulk: () => things(service).insert([{ k: "b", n: 2 }, { k: "c", n: 3 }]),
  upsert: () =>
    things(service).upsert([{ k: "a", n: 1 }, { k: "d", n: 4 }], {
      onConflict: "k",
      ignoreDuplicates: true,
    }).select("k"),
  filtered: () =>
    things(service).select("k,n", { count: "exact" }).gte("n", 2).in("k", ["b", "c", "x,y"])
      .order("n", { ascending: false }).limit(1),
  head: () => things(service).select("*", { count: "exact", head: true }),
  update: () => things(service).update({ n: 20 }).eq("k", "b").select("n"),
  rpc: () => service.rpc("add_up", { a: 2, b: 3 }),
  rows: () => service.rpc("things_from", { low: 4 }),
  as_anon: () => things(anon).insert({ k: "e", n: 5 }),
  as_legacy: () => things(legacy).select("k").eq("k", "a"),
  as_user: () => user.rpc("who_am_i"),
  duplicate: () => things(service).insert({ k: "a", n: 1 }),
  check: () => things(service).insert({ k: "f", n: -1 }),
  unknown_table: () => service.from("nothings").select(),
  none: () => things(service).select().eq("k", "zzz").single(),
  raised: () => service.rpc("refuse"),
  wrong_key: () => things(stranger).select(),
  function: () => anon.functions.invoke("echo", { body: { text: "hello" } }),
};

for (const [name, attempt] of Object.entries(tries)) {
  const { data, error, count, status } = await attempt();
  const failed = error && {
    name: error.name,
    code: error.code,
    message: error.message,
    details: error.details,
    hint: error.hint,
  };
  console.log(JSON.stringify({ name, status, data, count, error: failed }));
}
