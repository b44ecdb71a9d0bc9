/**
 * Numbers in the JSON text of a payload. The text itself passes as it was written; here is what has to be known of it
 * by those who read it: JSON allows numbers that no double holds.
 */

/** A string, or a number. Of two strings the text between them is never taken for one. */
const TOKEN = /"(?:[^"\\]+|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** Where one of these fits there may be such a number: a quick look for nearly all payloads. */
const EXPONENT = /[eE]\+?\d\d/;
const LONG = /\d{309}/;
const MAY_BE_LARGE = /\d{16}/;
const INTEGER = /^-?\d+$/;
const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;

/** The first number beyond the range of doubles, such as 1e400; undefined: there is none. `json` is well-formed. */
export function overflowIn(json: string): string | undefined {
  if (!EXPONENT.test(json) && (json.length < 309 || !LONG.test(json))) return undefined;
  for (const [token] of json.matchAll(TOKEN))
    if (token.charCodeAt(0) !== 0x22 && !Number.isFinite(Number(token))) return token;
  return undefined;
}

/** As JSON.parse, with integers that a double would round as bigint, where 64 bits hold them. */
export function parseExact(json: string): unknown {
  return MAY_BE_LARGE.test(json) ? parseLarge(json) : JSON.parse(json);
}

function parseLarge(json: string): unknown {
  // Longer than any run of it, escapes resolved, so that no string begins with it.
  const runs = JSON.stringify(JSON.parse(json)).match(/n+/g) ?? [];
  const mark = 'n'.repeat(1 + runs.reduce((longest, { length }) => Math.max(longest, length), 0));
  let found = false;
  const marked = json.replaceAll(TOKEN, (token) => {
    if (!isLarge(token)) return token;
    found = true;
    return `"${mark}${token}"`;
  });
  if (!found) return JSON.parse(json);
  return JSON.parse(marked, (_key, value: unknown) =>
    typeof value === 'string' && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value,
  );
}

function isLarge(token: string): boolean {
  if (!INTEGER.test(token) || Number.isSafeInteger(Number(token))) return false;
  const exact = BigInt(token);
  return exact >= INT64_MIN && exact <= UINT64_MAX;
}
