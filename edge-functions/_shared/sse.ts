import { utf8 } from "./bytes.ts";

/** One thing to be told: an event, or a comment that only keeps the connection alive. */
export type Told =
  | { id?: string | number; event?: string; data: unknown; retryMs?: number }
  | { comment: string };

/**
 * Server-Sent Events. Nothing is made before the client takes it, and `source` is told to stop by its
 * signal when the client goes.
 */
export function stream(
  request: Request,
  source: (gone: AbortSignal) => AsyncGenerator<Told>,
): Response {
  const stop = new AbortController();
  const gone = AbortSignal.any([stop.signal, request.signal]);
  const events = source(gone);
  const body = new ReadableStream<Uint8Array>({
    async pull(out) {
      try {
        const next = await events.next();
        if (next.done) out.close();
        else out.enqueue(utf8(written(next.value)));
      } catch (error) {
        // Whoever is gone is told nothing; the others come back with their last id.
        if (!gone.aborted) console.error("an event stream failed:", error);
        out.close();
      }
    },
    async cancel() {
      stop.abort();
      await events.return(undefined);
    },
  }, { highWaterMark: 0 });
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      // Proxies would keep it back until it is worth sending.
      "x-accel-buffering": "no",
    },
  });
}

function written(told: Told): string {
  if ("comment" in told) return `: ${told.comment}\n\n`;
  const lines = [`data: ${JSON.stringify(told.data)}`];
  if (told.event !== undefined) lines.unshift(`event: ${told.event}`);
  if (told.id !== undefined) lines.unshift(`id: ${told.id}`);
  if (told.retryMs !== undefined) lines.unshift(`retry: ${told.retryMs}`);
  return lines.join("\n") + "\n\n";
}

/** False when the client went meanwhile. */
export function pause(ms: number, gone: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (gone.aborted) return resolve(false);
    const left = () => done(false);
    const timer = setTimeout(() => done(true), ms);
    const done = (stays: boolean) => {
      clearTimeout(timer);
      gone.removeEventListener("abort", left);
      resolve(stays);
    };
    gone.addEventListener("abort", left);
  });
}
