/** What the rest of the broker tells the record of sessions. */

/** A session, as far as its record needs it. */
export interface Lived {
  readonly id: string;
  readonly generation: number;
  /** Of its connections that are known of. */
  readonly newest: number;
  readonly identity: { readonly user: string; readonly tenant: string };
  /** By name; `present` once the join has been answered. */
  readonly rooms: ReadonlyMap<string, { readonly present: boolean; readonly place: string }>;
}

export interface LifecycleHooks {
  connected(session: Lived): void;
  /** Gives the place: the room's name, numbered where the session has left rooms before. */
  joined(session: Lived, room: string): string;
  /** While the connection lives. */
  left(session: Lived, place: string): void;
  /** The socket is gone; the rooms are still there. */
  closed(session: Lived, code: number): void;
  tick(): void;
  close(): Promise<void>;
}

export const NO_LIFECYCLE: LifecycleHooks = {
  connected() {},
  joined: (_session, room) => room,
  left() {},
  closed() {},
  tick() {},
  async close() {},
};
