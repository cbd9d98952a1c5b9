/** Why a request was not done. Every error of the functions looks like this. */
export class Refusal extends Error {
  /** `code` is for programs and does not change; `hint` says what to do about it. */
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string,
    readonly headers: Record<string, string> = {},
  ) {
    super(message);
  }

  toJSON(): { code: string; message: string; hint: string } {
    return { code: this.code, message: this.message, hint: this.hint };
  }
}

export function answer(body: unknown, status = 200, headers: HeadersInit = {}): Response {
  const response = Response.json(body, { status, headers });
  // What is told depends on who asks, and is old in a second.
  response.headers.set("cache-control", "no-store");
  return response;
}

/** An error as its asker sees it. What is not meant for them stays in the log. */
export function refused(error: unknown): Response {
  if (error instanceof Refusal) {
    return answer(error, error.status, error.headers);
  }
  console.error("a function failed:", error);
  return answer(
    new Refusal(500, "internal", "the function failed", "its log says why; try again"),
    500,
  );
}
