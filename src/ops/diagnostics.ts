/** What somebody who helps from far away asks for first. No secrets: names that promise one are masked, at any depth. */
import { maskSecrets } from './log.ts';

const SECRET_NAME = /secret|token$|password|seed|^key$|^jwk$|cookie|authorization/i;
const MASK = '[redacted]';

/** Plain data only: what is a function, a key object or a map is named, not shown. */
export function redacted(value: unknown): unknown {
  const text = JSON.stringify(value, (name, child: unknown) => {
    if (SECRET_NAME.test(name) && child !== undefined && typeof child !== 'boolean') return MASK;
    if (child instanceof Map) return Object.fromEntries(child);
    if (typeof child === 'function') return undefined;
    if (typeof child === 'object' && child !== null && !isPlain(child)) return `[${child.constructor.name}]`;
    return child;
  });
  return JSON.parse(maskSecrets(text)) as unknown;
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return Array.isArray(value) || prototype === Object.prototype || prototype === null;
}
