/** The Carillon client for browsers and Node. It speaks chat.v1 and needs no other package. */
export type { AfterClose, CloseReason, ErrorCode } from '../protocol/codes.ts';
export type {
  Encoding,
  GapAction,
  GapReason,
  JoinedFrame,
  Member,
  Overflow,
  Position,
  ServerInfoFrame,
  Since,
} from '../protocol/frames.ts';
export { Client, connect, type PresenceList } from './client.ts';
export type { State } from './connection.ts';
export { CarillonError, type CarillonErrorCode, type LocalCode } from './errors.ts';
export type { ClientEvents, Ending } from './events.ts';
export type { Presence } from './members.ts';
export type {
  ConnectOptions,
  JoinOptions,
  PublishOptions,
  PublishQueueOptions,
  QualityOptions,
  ReconnectOptions,
  TokenSource,
} from './options.ts';
export type { Quality, QualityCause } from './quality.ts';
export {
  type Ack,
  type HistoryPage,
  type HistoryQuery,
  type Left,
  type Missed,
  Room,
  type RoomEvent,
  type RoomEvents,
  type RoomState,
} from './room.ts';
export type { Roster, RosterChange, RosterEvents, RosterOptions } from './roster.ts';
export type { Gap, Healed } from './sequencer.ts';
export type { Typing, TypingEvents } from './typing.ts';
export type { WebSocketConstructor, WebSocketLike } from './websocket.ts';
