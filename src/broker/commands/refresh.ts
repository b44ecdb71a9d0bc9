import type { RefreshFrame } from '../../protocol/frames.ts';
import type { Domain } from '../domain.ts';
import type { Verdict } from '../ports.ts';
import { fault, type Session } from '../session.ts';

/** A new token for a live connection: same user, same tenant, a later end, perhaps other rooms. */
export function refresh(
  session: Session,
  frame: RefreshFrame,
  domain: Domain,
  renewed: (session: Session) => void,
): void {
  const known = domain.verifier.known(frame.token);
  if (known !== undefined) return decide(session, frame, known, renewed);
  domain.verifier.verify(frame.token).then(
    (verdict) => decide(session, frame, verdict, renewed),
    (error: unknown) => {
      domain.log.error({ err: error, session: session.id }, 'token check failed');
      session.refuse(frame, fault('internal', 'the token could not be checked'));
    },
  );
}

function decide(
  session: Session,
  frame: RefreshFrame,
  verdict: Verdict,
  renewed: (session: Session) => void,
): void {
  if (session.ended) return;
  if (!verdict.ok) return session.refuse(frame, verdict);
  const { identity } = verdict;
  if (identity.user !== session.identity.user || identity.tenant !== session.identity.tenant)
    return session.refuse(frame, fault('forbidden', 'the new token is of another user or tenant'));
  session.adopt(identity);
  session.expelForbidden('the new token does not allow this room');
  renewed(session);
  session.send({
    type: 'refreshed',
    ...(frame.id !== undefined && { id: frame.id }),
    ...(identity.exp !== undefined && { exp: identity.exp }),
  });
}
