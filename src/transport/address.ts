const decoder = new TextDecoder();

/** An address as uWebSockets.js has it, as people write it: IPv4 mapped into IPv6 becomes IPv4 again. */
export function addressOf(bytes: ArrayBuffer): string {
  const text = decoder.decode(bytes);
  const mapped = /^(?:0000:){5}ffff:([0-9a-f]{2})([0-9a-f]{2}):([0-9a-f]{2})([0-9a-f]{2})$/.exec(text);
  if (mapped === null) return text;
  return mapped
    .slice(1)
    .map((byte) => Number.parseInt(byte, 16))
    .join('.');
}

/**
 * The client's address behind `hops` trusted proxies: each of them appends to `X-Forwarded-For` the address that
 * it saw, so the entry `hops` from the right is the first one that a client cannot forge.
 */
export function clientAddress(remote: string, forwardedFor: string, hops: number): string {
  if (hops === 0) return remote;
  const entries = forwardedFor
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  return withoutPort(entries[Math.max(0, entries.length - hops)] ?? remote);
}

/** Some proxies write the port as well: every connection would be an address of its own. */
function withoutPort(entry: string): string {
  const [, ipv4, ipv6] = /^(?:([\d.]+):\d+|\[([^\]]+)\]:\d+)$/.exec(entry) ?? [];
  return ipv4 ?? ipv6 ?? entry;
}
