/** What decoding a client's bytes gives: frames, or faults that say what to answer. */
import type { ErrorCode } from './codes.ts';
import type { ClientFrame, PubFrame, RequestId } from './frames.ts';

export interface DecodeLimits {
  readonly frameBytes: number;
  readonly payloadBytes: number;
  readonly depth: number;
  readonly keys: number;
  readonly batch: number;
}

/** A publish with its payload as JSON text: from a JSON client byte for byte as it stood in the frame. */
export interface InboundPub extends PubFrame {
  readonly payloadText: string;
}

export type InboundFrame = Exclude<ClientFrame, PubFrame> | InboundPub;

/** A frame that cannot be handled, with whatever could be read of what its error answer must carry. */
export interface FrameFault {
  readonly type: 'fault';
  readonly code: ErrorCode;
  readonly reason: string;
  readonly id?: RequestId;
  readonly msgId?: string;
  readonly room?: string;
  readonly limit?: number;
}

export type Inbound = InboundFrame | FrameFault;
