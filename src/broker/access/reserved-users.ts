/** Names that the broker writes where a user's name stands: no credential may carry one of them. */

/** `from` of what an operator publishes with the admin token. */
export const OPERATOR = 'server';
/** The caller that the audit log names for the admin token. */
export const ADMIN_TOKEN_CALLER = 'admin token';

const RESERVED: ReadonlySet<string> = new Set([OPERATOR, ADMIN_TOKEN_CALLER]);

/** Compared as a person reads it: without case, spaces around or doubled, or wide and styled letters. */
export function isReservedUser(user: string): boolean {
  const read = user.normalize('NFKC').trim().replace(/\s+/g, ' ').toLowerCase();
  return RESERVED.has(read);
}
