import { z } from "zod";

import { Refusal } from "./answer.ts";
import { joined } from "./bytes.ts";
import { nearest } from "./nearest.ts";

const MOST_BYTES = 1024 * 1024;
/** Deeper than this, the programs that read it later would refuse it. */
const DEEPEST = 100;

/** The bytes of a JSON body, read no further than they may go. */
export async function readBody(request: Request, most = MOST_BYTES): Promise<Uint8Array> {
  const kind = (request.headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
  if (kind !== "application/json") {
    throw new Refusal(
      415,
      "not_json",
      "the body is not JSON",
      "send `content-type: application/json`",
    );
  }
  const parts: Uint8Array[] = [];
  let size = Number(request.headers.get("content-length") ?? 0);
  if (size <= most && request.body !== null) {
    size = 0;
    // Counted as it comes: a length may be missing, or a lie. Leaving the loop stops the sender.
    for await (const part of request.body) {
      size += part.byteLength;
      if (size > most) break;
      parts.push(part);
    }
  }
  if (size > most) {
    throw new Refusal(
      413,
      "body_too_large",
      `the body is larger than ${most} bytes`,
      "store what is large elsewhere, and send where it is",
      // What is left of it stays unread, so nothing else can come on this connection.
      { connection: "close" },
    );
  }
  return joined(parts);
}

/** What a body says, if it is what the schema takes. */
export function parseBody<S extends z.ZodObject>(schema: S, bytes: Uint8Array): z.infer<S> {
  let value: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (depth(text) > DEEPEST) throw new SyntaxError(`it is nested deeper than ${DEEPEST} levels`);
    value = JSON.parse(text, exactly);
  } catch (error) {
    const why = error instanceof SyntaxError ? error.message : "it is not UTF-8";
    throw invalid(`the body cannot be read: ${why.slice(0, 200)}`, "send one JSON object");
  }
  return checked(schema, value, "field");
}

/**
 * What a query says, if it is what the schema takes. Each name may come once. A header that is named
 * counts as a parameter, with `_` for `-`; an empty one is none.
 */
export function parseQuery<S extends z.ZodObject>(
  schema: S,
  request: Request,
  ...headers: string[]
): z.infer<S> {
  const given = new URL(request.url).searchParams;
  const names = [...given.keys()];
  const twice = names.find((name, place) => names.indexOf(name) !== place);
  if (twice !== undefined) {
    throw invalid(`\`${twice.slice(0, 100)}\` was given twice`, "give it once");
  }
  const values: Record<string, string> = Object.fromEntries(given);
  for (const header of headers) {
    const value = request.headers.get(header);
    if (value) values[header.replaceAll("-", "_")] = value;
  }
  return checked(schema, values, "parameter");
}

function checked<S extends z.ZodObject>(schema: S, value: unknown, what: string): z.infer<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const known = Object.keys(schema.shape);
  const issue = result.error.issues[0]!;
  if (issue.code === "unrecognized_keys") {
    const word = String(issue.keys[0]);
    const meant = nearest(word, known);
    throw invalid(
      `unknown ${what} \`${word.slice(0, 100)}\``,
      meant === undefined ? `known are ${known.join(", ")}` : `did you mean \`${meant}\`?`,
    );
  }
  const path = issue.path.map(String).join(".").slice(0, 100);
  const where = path === "" ? "the body" : `\`${path}\``;
  throw invalid(`${where}: ${issue.message}`, `known are ${known.join(", ")}`);
}

function invalid(message: string, hint: string): Refusal {
  return new Refusal(400, "request_invalid", message, hint);
}

/** Numbers that JavaScript would change are kept as they were written. */
function exactly(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number") return value;
  if (!Number.isFinite(value)) throw new SyntaxError("a number is too large");
  const source = context?.source ?? "";
  return source.length > 15 && String(value) !== source ? rawJson(source) : value;
}

/** Newer than the type definitions. */
function rawJson(source: string): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(source);
}

function depth(text: string): number {
  let deepest = 0;
  let now = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const one = text[i];
    if (quoted) {
      if (one === "\\") i++;
      else if (one === '"') quoted = false;
    } else if (one === '"') {
      quoted = true;
    } else if (one === "{" || one === "[") {
      deepest = Math.max(deepest, ++now);
    } else if (one === "}" || one === "]") {
      now--;
    }
  }
  return deepest;
}
