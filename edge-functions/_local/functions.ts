import { parse } from "smol-toml";
import { z } from "zod";

import type { Handler } from "../_shared/door.ts";

/** A function as config.toml lists it. */
export type Listed = { name: string; entrypoint: URL; verifyJwt: boolean };

const Config = z.object({
  functions: z.record(
    z.string(),
    z.object({ entrypoint: z.string(), verify_jwt: z.boolean().default(true) }),
  ),
});

/** The functions of a project; their paths are relative to the file. */
export async function listed(config: URL): Promise<Listed[]> {
  const { functions } = Config.parse(parse(await Deno.readTextFile(config)));
  return Object.entries(functions).map(([name, { entrypoint, verify_jwt }]) => ({
    name,
    entrypoint: new URL(entrypoint, config),
    verifyJwt: verify_jwt,
  }));
}

/** Loaded when it is first called: one that cannot be loaded fails alone. */
export function lazily(entrypoint: URL): Handler {
  let loading: Promise<{ handler: Handler }> | undefined;
  return async (request) => {
    loading ??= import(entrypoint.href);
    const { handler } = await loading;
    return await handler(request);
  };
}
