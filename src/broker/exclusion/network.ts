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

const FULL_IPV6 = /^(?:[0-9a-f]{4}:){7}[0-9a-f]{4}$/;
const DOT = 46;
const ZERO = 48;
const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;

/** undefined: it is no address. IPv4 mapped into IPv6 is IPv4. */
export function parseAddress(text: string): Network | undefined {
  const plain = text.startsWith('[') ? text.replace(/^\[|\]$/g, '') : text;
  if (IPV4.test(plain)) return ipv4(plain);
  const groups = plain.includes(':') ? groupsOf(plain.toLowerCase()) : undefined;
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

/** The groups as one text, each a code unit: made once for an address, cut by `prefixOf` for every length. */
export function codeOf({ groups }: Network): string {
  return String.fromCharCode(...groups);
}

/** The same text for all addresses that share the first `bits`, and for no others of the family. */
export function prefixOf(code: string, bits: number): string {
  const whole = Math.floor(bits / GROUP_BITS);
  const rest = bits % GROUP_BITS;
  if (rest === 0) return code.slice(0, whole);
  return code.slice(0, whole) + String.fromCharCode(code.charCodeAt(whole) & (0xffff << (GROUP_BITS - rest)));
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
  let address = 0;
  let byte = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code !== DOT) byte = byte * 10 + code - ZERO;
    else {
      address = address * 256 + byte;
      byte = 0;
    }
  }
  address = address * 256 + byte;
  return { family: 4, groups: [Math.floor(address / 0x10000), address % 0x10000], bits: 32 };
}

/** ::ffff:a.b.c.d is how an IPv6 socket shows IPv4. */
function plainest(network: Network): Network {
  const { family, groups, bits } = network;
  const mapped =
    family === 6 &&
    bits >= MAPPED_BITS &&
    groups[5] === 0xffff &&
    groups.findIndex((group) => group !== 0) === 5;
  return mapped ? { family: 4, groups: groups.slice(6), bits: bits - MAPPED_BITS } : network;
}

/** The eight numbers of an IPv6 address, however it is written; undefined: it is none. */
function groupsOf(text: string): number[] | undefined {
  // As uWebSockets.js writes it: sessions are looked at by the thousand.
  if (FULL_IPV6.test(text)) return text.split(':').map((group) => Number.parseInt(group, 16));
  const url = `http://[${text}]/`;
  if (!/^[0-9a-f:.]+$/.test(text) || !URL.canParse(url)) return undefined;
  // The URL parser knows every way to write one, and writes it without dots and with one "::" at most.
  const [head = '', tail] = new URL(url).hostname.slice(1, -1).split('::');
  const numbers = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const [left, right] = [numbers(head), numbers(tail ?? '')];
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
}
