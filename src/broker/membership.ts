import type { Overflow, ServerFrame } from '../protocol/frames.ts';
import type { Connection, Fault, Identity } from './ports.ts';
import type { Room, RoomMember } from './room.ts';

/** The session a membership belongs to, as far as a room, a catch-up or a drain needs it. */
export interface Owner {
  readonly connection: Connection;
  readonly identity: Identity;
  send(frame: ServerFrame): void;
  /** Ends the membership without being asked by the client. */
  expel(membership: Membership, fault: Fault): void;
}

/** One session in one room. */
export class Membership implements RoomMember {
  readonly owner: Owner;
  readonly room: Room;
  readonly overflow: Overflow;
  readonly watches: boolean;
  at = -1;
  native = false;
  present = false;

  constructor(owner: Owner, room: Room, overflow: Overflow, watches: boolean) {
    this.owner = owner;
    this.room = room;
    this.overflow = overflow;
    this.watches = watches;
  }

  get connection(): Connection {
    return this.owner.connection;
  }

  get user(): string {
    return this.owner.identity.user;
  }

  get info(): Readonly<Record<string, unknown>> | undefined {
    return this.owner.identity.info;
  }

  get left(): boolean {
    return this.at < 0;
  }

  evicted(fault: Fault): void {
    this.owner.expel(this, fault);
  }

  /** The client is told that its position is void and that it is out: it joins again to go on. */
  invalidated(from: number, to: number): void {
    const room = this.room.ref.name;
    this.owner.send({ type: 'gap', room, from, to, reason: 'epoch', action: 'rejoin' });
    this.owner.expel(this, {
      ok: false,
      code: 'unavailable',
      reason: 'the epoch of the room changed: join again',
    });
  }
}
