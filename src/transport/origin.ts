export interface OriginPolicy {
  /** undefined: any origin. Otherwise exact origins or such with a wildcard host: `https://*.example.com`. */
  readonly origins: readonly string[] | undefined;
  /** Native clients send no Origin; browsers always do. */
  readonly missingOrigin: 'allow' | 'deny';
}

/** RFC 6454: scheme, host and port have to agree; a `*.` host stands for one or more labels before the rest. */
export function originAllowed(origin: string, policy: OriginPolicy): boolean {
  if (origin === '') return policy.missingOrigin === 'allow';
  if (policy.origins === undefined) return true;
  const asked = parse(origin);
  return (
    asked !== undefined &&
    !asked.host.startsWith('*') &&
    policy.origins.some((allowed) => fits(asked, allowed))
  );
}

interface Origin {
  readonly scheme: string;
  readonly host: string;
  readonly port: string;
}

/** Not `new URL`: that accepts user names, paths and a dozen spellings that an Origin header never has. */
const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/(\*\.)?([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$/;

/** Browsers leave these out; a config may name them. */
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443' };

function parse(text: string): Origin | undefined {
  const match = ORIGIN.exec(text.toLowerCase());
  if (match === null) return undefined;
  const [, scheme = '', wildcard = '', host = '', port = ''] = match;
  return { scheme, host: wildcard + host, port: port === DEFAULT_PORTS[scheme] ? '' : port };
}

function fits(asked: Origin, allowed: string): boolean {
  if (allowed === '*') return true;
  const rule = parse(allowed);
  if (rule === undefined || rule.scheme !== asked.scheme || rule.port !== asked.port) return false;
  if (!rule.host.startsWith('*.')) return rule.host === asked.host;
  // With the dot: `*.example.com` is neither `example.com` nor `notexample.com`.
  return asked.host.endsWith(rule.host.slice(1)) && asked.host.length > rule.host.length - 1;
}
