import type { RefreshFrame } from '../../protocol/frames.ts';
import type { Domain } from '../domain.ts';
import type { Passage } from '../exclusion/gate.ts';
import { fault, type Session } from '../session.ts';

/** A new token for a live connection: same user, same tenant, a later end, perhaps other rooms. */
export function refresh(
  session: Session,
  frame: RefreshFrame,
  domain: Domain,
  renewed: (session: Session) => void,
): void {
  const origin = { address: session.connection.address, session: session.id };
  const known = domain.gate.known(frame.token, origin);
  if (known !== undefined) return decide(session, frame, known, renewed);
  domain.gate.verify(frame.token, origin).then(
    (passage) => decide(session, frame, passage, renewed),
    (error: unknown) => {
      domain.log.error({ err: error, session: session.id }, 'token check failed');
      session.refuse(frame, fault('internal', 'the token could not be checked'));
    },
  );
}

function decide(
  session: Session,
  frame: RefreshFrame,
  passage: Passage,
  renewed: (session: Session) => void,
): void {
  if (session.ended) return;
  if (!passage.ok) {
    const { code, reason, retryAfterMs } = passage;
    const known = code === 'tenant_disabled' ? 'forbidden' : code;
    return session.refuse(frame, {
      ...fault(known, reason),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  }
  const { identity } = passage;
  if (identity.user !== session.identity.user || identity.tenant !== session.identity.tenant)
    return session.refuse(frame, fault('forbidden', 'the new token is of another user or tenant'));
  session.adopt(identity);
  session.expelForbidden('the new token does not allow this room');
  renewed(session);
  session.send({
    type: 'refreshed',
    ...(frame.id !== undefined && { id: frame.id }),
    exp: identity.exp,
  });
}
