/** UTF-8 without a copy: counting what text will take, and checking bytes in place. */

/** How many bytes the text has in UTF-8; a lone surrogate counts as U+FFFD, which is what it is encoded as. */
export function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x80) continue;
    bytes += code < 0x800 ? 1 : 2;
    if ((code & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00) at++;
  }
  return bytes;
}

/** Whether the text has more UTF-8 bytes than that; short text is not looked at. */
export function exceedsUtf8(text: string, limit: number): boolean {
  return text.length > limit || (text.length * 3 > limit && utf8Bytes(text) > limit);
}

/** Whether the bytes from `from` to before `to` are UTF-8 as RFC 3629 has it: no overlong forms, no surrogates. */
export function isUtf8(bytes: Uint8Array, from: number, to: number): boolean {
  let at = from;
  while (at < to) {
    const lead = bytes[at++] as number;
    if (lead < 0x80) continue;
    const more = trailing(lead);
    if (more === 0 || at + more > to || !isSecond(lead, bytes[at++] as number)) return false;
    for (let left = more; left > 1; left--) {
      if (((bytes[at++] as number) & 0xc0) !== 0x80) return false;
    }
  }
  return true;
}

/** How many bytes must follow a lead byte; 0 for a byte that cannot lead. */
function trailing(lead: number): number {
  if (lead < 0xc2 || lead > 0xf4) return 0;
  if (lead < 0xe0) return 1;
  return lead < 0xf0 ? 2 : 3;
}

function isSecond(lead: number, byte: number): boolean {
  if (lead === 0xe0) return byte >= 0xa0 && byte <= 0xbf;
  if (lead === 0xed) return byte >= 0x80 && byte <= 0x9f;
  if (lead === 0xf0) return byte >= 0x90 && byte <= 0xbf;
  if (lead === 0xf4) return byte >= 0x80 && byte <= 0x8f;
  return (byte & 0xc0) === 0x80;
}
