import type { Encoding, Member, PresenceUpdateFrame } from '../protocol/frames.ts';
import type { Answerable, Delivery } from './delivery.ts';
import { encodeFrame } from './encode.ts';
import type { Membership } from './membership.ts';
import type { Fanout } from './ports.ts';
import { PresenceView } from './presence.ts';
import type { Room } from './room.ts';

/**
 * Tells those who asked (`presence: true`) who comes and goes, once per turn of the loop. A room where nobody
 * asked keeps no view and sends nothing.
 */
export class PresenceNotices implements Answerable {
  readonly #fanout: Fanout;
  readonly #delivery: Delivery;
  #changed = new Set<Room>();

  constructor(fanout: Fanout, delivery: Delivery) {
    this.#fanout = fanout;
    this.#delivery = delivery;
  }

  /** After the member is in the roster. Returns the members for `joined` if it watches. */
  arrived(member: Membership): readonly Member[] | undefined {
    const { room } = member;
    member.present = true;
    if (room.presence !== undefined) {
      room.presence.add(member);
      this.#mark(room);
    }
    if (!member.watches) return undefined;
    room.presence ??= viewOf(room);
    // What has changed so far goes to the others only: the newcomer gets the whole in `joined`.
    this.#publish(room, room.presence);
    this.#watch(member, 1);
    return room.presence.list();
  }

  /** After the member has left the roster. */
  departed(member: Membership): void {
    const { room } = member;
    const view = room.presence;
    if (view === undefined || !member.present) return;
    member.present = false;
    if (member.watches) this.#watch(member, -1);
    if (view.watchersJson + view.watchersMsgpack === 0) {
      room.presence = undefined;
      return;
    }
    view.remove(member.user);
    this.#mark(room);
  }

  /** The members of any room of this node, watched or not. */
  list(room: Room): readonly Member[] {
    return (room.presence ?? viewOf(room)).list();
  }

  flushAnswers(): void {
    const rooms = this.#changed;
    this.#changed = new Set();
    for (const room of rooms) if (room.presence !== undefined) this.#publish(room, room.presence);
  }

  #mark(room: Room): void {
    if (this.#changed.size === 0) this.#delivery.answerLater(this);
    this.#changed.add(room);
  }

  #watch(member: Membership, by: 1 | -1): void {
    const view = member.room.presence;
    if (view === undefined) return;
    const { encoding } = member.connection;
    const topic = member.room.presenceTopic(encoding);
    if (encoding === 'json') view.watchersJson += by;
    else view.watchersMsgpack += by;
    if (by === 1) member.connection.subscribe(topic);
    else member.connection.unsubscribe(topic);
  }

  #publish(room: Room, view: PresenceView): void {
    if (!view.changed) return;
    const { joined, left, count } = view.take();
    const { presence } = room.tenant.policy;
    if (presence === 'off') return;
    const head = { type: 'presence', room: room.ref.name, count } as const;
    const frame: PresenceUpdateFrame =
      presence === 'full' ? { ...head, mode: 'delta', joined, left } : { ...head, mode: 'count' };
    this.#send(room, frame, 'json', view.watchersJson);
    this.#send(room, frame, 'msgpack', view.watchersMsgpack);
  }

  #send(room: Room, frame: PresenceUpdateFrame, encoding: Encoding, watchers: number): void {
    if (watchers === 0) return;
    const data = encodeFrame(frame, encoding);
    this.#fanout.publish(room.presenceTopic(encoding), data, encoding);
    this.#delivery.sent(room, watchers, data);
  }
}

function viewOf(room: Room): PresenceView {
  return new PresenceView(room.members.filter((member) => member.present));
}
