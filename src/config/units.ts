/** Sizes, durations and addresses as people write them. Each parser answers undefined to what it cannot read. */

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ['kb', 1e3],
  ['mb', 1e6],
  ['gb', 1e9],
  ['kib', KIB],
  ['mib', MIB],
  ['gib', GIB],
]);

const DURATION_UNITS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

const QUANTITY = /^(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]*)$/;

/** `64KiB`, `4MB`, or a plain number of bytes. */
export function parseSize(value: unknown): number | undefined {
  const quantity = quantityOf(value);
  const unit = quantity && SIZE_UNITS.get(quantity.unit.toLowerCase());
  return quantity && unit ? wholeNumber(quantity.amount * unit) : undefined;
}

/** `10m`, `500ms`, or a plain number, which counts in `plainMs`. The answer is in milliseconds. */
export function parseDuration(value: unknown, plainMs: number): number | undefined {
  const quantity = quantityOf(value);
  if (!quantity) return undefined;
  const unit = quantity.unit === '' ? plainMs : DURATION_UNITS.get(quantity.unit);
  return unit ? wholeNumber(quantity.amount * unit) : undefined;
}

export function parseCount(value: unknown): number | undefined {
  const quantity = quantityOf(value);
  return quantity?.unit === '' ? wholeNumber(quantity.amount) : undefined;
}

function quantityOf(value: unknown): { amount: number; unit: string } | undefined {
  if (typeof value === 'number') return { amount: value, unit: '' };
  const found = typeof value === 'string' ? QUANTITY.exec(value.trim()) : null;
  return found ? { amount: Number(found[1]), unit: found[2] ?? '' } : undefined;
}

function wholeNumber(value: number): number | undefined {
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

export { showDuration, showSize } from '../broker/units.ts';

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;
const HOST_NAME =
  /^(?=.{1,253}$)(?!\d+(?:\.\d+)*$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$/;

export interface Address {
  /** Without brackets where it is an IPv6 address. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

/** `host:port` or `[::1]:port`. */
export function parseAddress(value: unknown): Address | undefined {
  const found = typeof value === 'string' ? /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(value.trim()) : null;
  if (!found) return undefined;
  const port = Number(found[3]);
  const host = found[1] === undefined ? nameOrIpv4(found[2] ?? '') : ipv6(found[1]);
  return host !== undefined && port <= 65_535 ? { host, port } : undefined;
}

function nameOrIpv4(host: string): string | undefined {
  return IPV4.test(host) || HOST_NAME.test(host) ? host : undefined;
}

/** The URL parser knows every form of an IPv6 address and gives the shortest. */
function ipv6(host: string): string | undefined {
  const url = `http://[${host}]/`;
  return /^[0-9A-Fa-f:.]+$/.test(host) && URL.canParse(url) ? new URL(url).hostname.slice(1, -1) : undefined;
}

export function showAddress(address: Address): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** Whether only this machine can reach the host. `::ffff:7f00:1` is how 127.0.0.1 looks as an IPv6 address. */
export function isLoopback(host: string): boolean {
  // Of the numbers only: 127.0.0.1.example.com is a name that anybody may own.
  if (IPV4.test(host)) return host.startsWith('127.');
  return host === 'localhost' || host === '::1' || /^::ffff:7f[0-9a-f]{2}:/.test(host);
}
