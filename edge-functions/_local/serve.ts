/** Serves all functions of supabase/config.toml in one process. HOST and PORT say where. */
import { lazily, listed } from "./functions.ts";
import { router } from "./router.ts";

// Whatever a function leaves behind unawaited must not end the others.
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  console.error("a function left an error behind:", event.reason);
});
globalThis.addEventListener("error", (event) => {
  event.preventDefault();
  console.error("a function left an error behind:", event.error);
});

const config = new URL("../../supabase/config.toml", import.meta.url);
const functions = (await listed(config)).map(({ name, entrypoint, verifyJwt }) =>
  [name, { handler: lazily(entrypoint), verifyJwt }] as const
);
const server = Deno.serve({
  hostname: Deno.env.get("HOST") || "127.0.0.1",
  port: Number(Deno.env.get("PORT") ?? 54324),
  onListen: ({ hostname, port }) => console.log(`functions on http://${hostname}:${port}`),
}, router(new Map(functions)));

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // Streams are cut: their clients come back with their last id.
  Deno.addSignalListener(signal, () => {
    Promise.race([server.shutdown(), new Promise((done) => setTimeout(done, 2_000))])
      .then(() => Deno.exit(0));
  });
}
