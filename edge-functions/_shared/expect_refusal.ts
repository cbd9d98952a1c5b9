import assert from "node:assert/strict";

import { Refusal } from "./answer.ts";

/** That something is refused with this status, and what it said. */
export async function refusal(status: number, work: () => unknown): Promise<Refusal> {
  try {
    await work();
  } catch (error) {
    assert.ok(error instanceof Refusal, String(error));
    assert.equal(error.status, status, error.message);
    return error;
  }
  throw new assert.AssertionError({ message: "it was not refused" });
}
