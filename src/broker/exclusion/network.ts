/** Client addresses, however they are written, and the networks that they are in. */

/** The first `bits` of an address, in groups of 16; IPv4 has two groups, IPv6 eight. */
export interface Network {
  readonly family: 4 | 6;
  /** What is beyond `bits` is 0. */
  readonly groups: readonly number[];
  readonly bits: number;
}

const GROUP_BITS = 16;
const MAPPED_BITS = 96;
/** Longer than any address: a key made of a header must not be one of kilobytes. */
const TEXT_MAX = 64;

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;

/** undefined: it is no address. IPv4 mapped into IPv6 is IPv4. */
export function parseAddress(text: string): Network | undefined {
  const plain = text.replace(/^\[|\]$/g, '').toLowerCase();
  if (IPV4.test(plain)) return ipv4(plain);
  const groups = plain.includes(':') ? groupsOf(plain) : undefined;
  return groups && plainest({ family: 6, groups, bits: 128 });
}

/** `10.0.0.0/8`, `2001:db8::/32`, or an address. What is beyond the prefix is cut off. */
export function parseNetwork(text: string): Network | undefined {
  const [, address = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const plain = address.replace(/^\[|\]$/g, '').toLowerCase();
  const groups = IPV4.test(plain) ? ipv4(plain).groups : groupsOf(plain);
  if (groups === undefined) return undefined;
  const all = groups.length * GROUP_BITS;
  const bits = prefix === undefined ? all : Number(prefix);
  if (bits > all) return undefined;
  return plainest({ family: all === 128 ? 6 : 4, groups: masked(groups, bits), bits });
}

export function showNetwork({ family, groups, bits }: Network): string {
  const text =
    family === 4
      ? groups.flatMap((group) => [group >> 8, group & 255]).join('.')
      : new URL(`http://[${groups.map(hex).join(':')}]/`).hostname.slice(1, -1);
  return bits === groups.length * GROUP_BITS ? text : `${text}/${bits}`;
}

/** The same text for all addresses that share the first `bits`, and for no others of the family. */
export function prefixOf({ groups }: Network, bits: number): string {
  return masked(groups, bits).map(hex).join(':');
}

/**
 * What limits per address count by: IPv4 as it is; of IPv6 the first 64 bits, which is what one customer gets. undefined
 * for this machine: a proxy beside the broker, or development.
 */
export function networkOf(address: string): string | undefined {
  const parsed = parseAddress(address);
  // What a proxy wrote there, if it is no address: still something to count by.
  if (parsed === undefined) return address.toLowerCase().slice(0, TEXT_MAX);
  const { family, groups } = parsed;
  if (family === 4) return (groups[0] as number) >> 8 === 127 ? undefined : showNetwork(parsed);
  const text = groups.map(hex).join(':');
  return text === '0:0:0:0:0:0:0:1' ? undefined : text.split(':').slice(0, 4).join(':');
}

function hex(group: number): string {
  return group.toString(16);
}

function masked(groups: readonly number[], bits: number): number[] {
  return groups.map((group, at) => {
    const kept = Math.min(GROUP_BITS, Math.max(0, bits - at * GROUP_BITS));
    return group & (0xffff << (GROUP_BITS - kept)) & 0xffff;
  });
}

function ipv4(text: string): Network {
  const [a = 0, b = 0, c = 0, d = 0] = text.split('.').map(Number);
  return { family: 4, groups: [(a << 8) | b, (c << 8) | d], bits: 32 };
}

/** ::ffff:a.b.c.d is how an IPv6 socket shows IPv4. */
function plainest(network: Network): Network {
  const { family, groups, bits } = network;
  const mapped =
    family === 6 && bits >= MAPPED_BITS && groups.slice(0, 6).map(hex).join(':') === '0:0:0:0:0:ffff';
  return mapped ? { family: 4, groups: groups.slice(6), bits: bits - MAPPED_BITS } : network;
}

/** The eight numbers of an IPv6 address, however it is written; undefined: it is none. */
function groupsOf(text: string): number[] | undefined {
  const url = `http://[${text}]/`;
  if (!/^[0-9a-f:.]+$/.test(text) || !URL.canParse(url)) return undefined;
  // The URL parser knows every way to write one, and writes it without dots and with one "::" at most.
  const [head = '', tail] = new URL(url).hostname.slice(1, -1).split('::');
  const numbers = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const [left, right] = [numbers(head), numbers(tail ?? '')];
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
}
