import { z } from "zod";

export const TraceId = z.string().regex(/^[0-9a-f]{32}$/, "must be 32 lower-case hex digits");

/** The number of an event, from which somebody goes on. */
export const Place = z.string().regex(/^(0|[1-9][0-9]{0,15})$/, "must be the id of an event")
  .transform(Number);
