import { z } from "zod";

import { Refusal } from "./answer.ts";

export const IdempotencyKey = z.string().max(255)
  .regex(/^\P{Cc}+$/u, "must be 1 to 255 printable characters");

/** The key of a request: in its body or as a header, which a signature does not cover. */
export function givenKey(
  request: Request,
  inBody: string | undefined,
  signed: boolean,
): string | undefined {
  const header = request.headers.get("idempotency-key");
  if (header === null) return inBody;
  if (signed) {
    throw invalid(
      "the signature does not cover the header `Idempotency-Key`",
      "put `idempotency_key` into the body, where it is signed",
    );
  }
  if (inBody !== undefined && inBody !== header) {
    throw invalid("`Idempotency-Key` and `idempotency_key` differ", "give one of them");
  }
  if (!IdempotencyKey.safeParse(header).success) {
    throw invalid(
      "`Idempotency-Key` is not a text of 1 to 255 characters",
      "send a random one for each thing you ask for, such as a uuid",
    );
  }
  return header;
}

function invalid(message: string, hint: string): Refusal {
  return new Refusal(400, "request_invalid", message, hint);
}
