import { SignJWT } from 'jose';
import { SECRET } from './process.mjs';

/** An HS256 token for the brokers that `startBroker` starts, good for an hour. */
export function mint(sub, claims = {}) {
  return new SignJWT({ rooms: [{ match: '**', allow: ['join', 'pub', 'presence', 'history'] }], ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(sub)
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(SECRET));
}
