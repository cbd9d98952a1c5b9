import { Refusal } from "./answer.ts";
import { rpc } from "./rpc.ts";
import { pause, type Told } from "./sse.ts";

/** One answer of `bus_trace_events`. */
export type Page = { events: { id: number }[]; at_rest: boolean; next: number };

export type Following = { trace: string; key: string; first: Page };

const SOON_MS = 250;
const LATEST_MS = 2_000;
/** Proxies cut connections on which nothing is said, most of them after a minute. */
const HEARTBEAT_MS = 15_000;

export async function look(
  trace: string,
  after: number,
  key: string,
  signal?: AbortSignal,
): Promise<Page> {
  const parameters = { p_trace_id: trace, p_after: after };
  return await rpc("bus_trace_events", parameters, key, signal) as Page;
}

/**
 * The events of a trace, until it is at rest or `lifeMs` have passed: then the client comes back
 * with the number of the last event it has.
 */
export async function* follow(
  { trace, key, first }: Following,
  lifeMs: number,
  gone: AbortSignal,
): AsyncGenerator<Told> {
  const until = performance.now() + lifeMs;
  let page = first;
  let quietMs = 0;
  let pauseMs = SOON_MS;
  yield { comment: "following" };
  while (true) {
    for (const event of page.events) yield { id: event.id, data: event };
    if (page.at_rest) {
      yield { id: page.next, event: "end", data: { trace_id: trace } };
      return;
    }
    pauseMs = page.events.length > 0 ? SOON_MS : Math.min(pauseMs * 1.5, LATEST_MS);
    quietMs = page.events.length > 0 ? 0 : quietMs + pauseMs;
    if (quietMs >= HEARTBEAT_MS) {
      yield { comment: "still here" };
      quietMs = 0;
    }
    if (performance.now() + pauseMs > until || !(await pause(pauseMs, gone))) return;
    try {
      page = await look(trace, page.next, key, gone);
    } catch (error) {
      // What passes is waited for. What does not, such as a token that has expired, is told.
      if (!(error instanceof Refusal)) throw error;
      if (error.status < 500) {
        yield { event: "error", data: error };
        return;
      }
      page = { events: [], at_rest: false, next: page.next };
    }
  }
}
