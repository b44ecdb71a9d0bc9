/** What is reachable from where: the admin listener, and the certificates of the public one. */
import { readCertificates } from '../../auth/certificates.ts';
import { isLoopback } from '../../config/units.ts';
import { type Config, showAddress } from '../../config.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

const DAY_MS = 24 * 3_600_000;

export function adminListener({ admin: { listen, token } }: Config): Finding {
  const check = 'admin-listener';
  const where = showAddress(listen);
  if (isLoopback(listen.host)) return ok(check, `${where} is for this machine only`);
  if (token !== undefined) return ok(check, `${where}, with admin.token`);
  const says = `${where} can be reached from other machines and has no admin.token: metrics are for everybody, the admin API for tokens with scope "admin"`;
  return warn(check, says, 'set CARILLON_ADMIN_TOKEN, and let only Prometheus and operators reach it');
}

/** @param nowMs milliseconds since 1970. */
export function certificates({ tls }: Config, nowMs: number): readonly Finding[] {
  if (tls === undefined) return [];
  const check = 'certificate';
  const read = readCertificates(tls, nowMs);
  if (!read.ok) return [fail(check, `tls.${read.path.join('.')}: ${read.reason}`, read.fix)];
  return [...read.endsAtMs].map(([name, endsAtMs]) => {
    const left = endsAtMs - nowMs;
    const says = `${name} ends on ${new Date(endsAtMs).toISOString().slice(0, 10)}, in ${Math.floor(left / DAY_MS)} days`;
    if (left > tls.warnMs) return ok(check, says);
    return warn(check, says, 'renew it; new files are taken without a restart: docs/operations/tls.md');
  });
}
