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
  return entries[Math.max(0, entries.length - hops)] ?? remote;
}

/**
 * What limits per address count by: IPv4 as it is; of IPv6 the first 64 bits, which is what one customer gets. undefined
 * for this machine: a proxy beside the broker, or development.
 */
export function networkOf(address: string): string | undefined {
  const plain = address.replace(/^\[|\]$/g, '').toLowerCase();
  if (!plain.includes(':')) return plain.startsWith('127.') ? undefined : plain.slice(0, TEXT_MAX);
  const groups = groupsOf(plain);
  // What a proxy wrote there, if it is no address: still something to count by.
  if (groups === undefined) return plain.slice(0, TEXT_MAX);
  const text = groups.map((group) => group.toString(16)).join(':');
  if (text === '0:0:0:0:0:0:0:1') return undefined;
  const [, , , , , , high = 0, low = 0] = groups;
  if (text.startsWith('0:0:0:0:0:ffff:'))
    return networkOf([high >> 8, high & 255, low >> 8, low & 255].join('.'));
  return text.split(':').slice(0, 4).join(':');
}

/** Longer than any address: a key made of a header must not be one of kilobytes. */
const TEXT_MAX = 64;

/** The eight numbers of an IPv6 address, however it is written; undefined: it is none. */
function groupsOf(text: string): number[] | undefined {
  const url = `http://[${text}]/`;
  if (!/^[0-9a-f:.]+$/.test(text) || !URL.canParse(url)) return undefined;
  // The URL parser knows every way to write one, and writes it without dots and with one "::" at most.
  const [head = '', tail] = new URL(url).hostname.slice(1, -1).split('::');
  const numbers = (part: string) =>
    part === '' ? [] : part.split(':').map((hex) => Number.parseInt(hex, 16));
  const [left, right] = [numbers(head), numbers(tail ?? '')];
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
}
