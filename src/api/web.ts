import { isReservedUser } from '../broker/access/reserved-users.ts';
import { HEALTH_PATH, problem, type WebAnswer, type WebHandler, type WebRequest } from '../broker/web.ts';
import { pageAsset } from './page.ts';

/** What development mode adds: tokens for the page, so that a newcomer needs none of their own. */
export interface DevelopmentWeb {
  /** A token for this user, with access to every room. */
  mint(user: string): Promise<string>;
}

export interface WebOptions {
  readonly page: boolean;
  readonly development: DevelopmentWeb | undefined;
  /** The server API; undefined: not one of its addresses. */
  readonly api: WebHandler;
  /** Whether new connections should come to this process. */
  readonly ready: () => boolean;
}

/** Anybody may ask: it tells nothing but this, has no body, and is cheaper than a refusal. */
const HEALTH_HEADERS = { 'Cache-Control': 'no-store' };
const HEALTHY: WebAnswer = { status: 200, headers: HEALTH_HEADERS, body: '' };
const UNHEALTHY: WebAnswer = { status: 503, headers: HEALTH_HEADERS, body: '' };

const isRead = ({ method }: WebRequest): boolean => method === 'GET' || method === 'HEAD';

/** Loopback by name or address: another Host means that some site's name was rebound to this machine. */
const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/;
/** Of the same page, or typed into the address bar. Browsers set it, and no page can. */
const OWN_SITE = new Set(['', 'same-origin', 'none']);
const USER = /^[\x21-\x7e][\x20-\x7e]{0,127}$/;

/** What the public listener serves beside the WebSockets. */
export function webHandler(options: WebOptions): WebHandler {
  return (request) => {
    if (request.path.startsWith('/api/')) return options.api(request);
    if (request.path === HEALTH_PATH && isRead(request)) return options.ready() ? HEALTHY : UNHEALTHY;
    if (!isRead(request)) return problem(405, 'bad_request', 'this address takes GET');
    if (request.path === '/dev/token' && options.development !== undefined)
      return developmentToken(request, options.development);
    return options.page ? staticAsset(request.path) : undefined;
  };
}

function staticAsset(path: string): WebAnswer | undefined {
  const asset = pageAsset(path);
  return (
    asset && {
      status: asset.status,
      headers: { 'Content-Type': asset.type, ...PAGE_HEADERS },
      body: asset.body,
    }
  );
}

const PAGE_HEADERS = {
  'Content-Security-Policy':
    "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-cache',
};

const TOKEN_HEADERS = {
  'Content-Type': 'application/json',
  'X-Content-Type-Options': 'nosniff',
  // Not readable for a page of another site, whatever it loads this as.
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
};

/** Of the page of this broker, not of one that another site or another program of this machine has served. */
function isOwnPage(request: WebRequest): boolean {
  const host = request.header('host');
  const origin = request.header('origin');
  const own = origin === '' || origin === `http://${host}` || origin === `https://${host}`;
  return own && LOOPBACK_HOST.test(host) && OWN_SITE.has(request.header('sec-fetch-site'));
}

async function developmentToken(request: WebRequest, development: DevelopmentWeb): Promise<WebAnswer> {
  if (!isOwnPage(request))
    return problem(403, 'forbidden', 'development tokens are for pages opened on this machine');
  const user = request.query('sub') ?? '';
  if (!USER.test(user)) return problem(400, 'bad_request', 'sub must be 1 to 128 visible characters');
  if (isReservedUser(user)) return problem(400, 'bad_request', 'sub is a reserved name');
  return {
    status: 200,
    headers: TOKEN_HEADERS,
    body: JSON.stringify({ token: await development.mint(user) }),
  };
}
