/** Faults that concern bytes as a whole; the wording is shared by both encodings. */
import type { DecodeLimits, FrameFault } from './inbound.ts';

export function badFrame(reason: string, limit?: number): FrameFault {
  return limit === undefined
    ? { type: 'fault', code: 'bad_frame', reason }
    : { type: 'fault', code: 'bad_frame', reason, limit };
}

export function badJson(reason: string): FrameFault {
  return { type: 'fault', code: 'bad_json', reason };
}

export function frameTooLarge(bytes: number, limits: DecodeLimits): FrameFault {
  const limit = limits.frameBytes;
  return {
    type: 'fault',
    code: 'frame_too_large',
    reason: `the frame has ${bytes} bytes; at most ${limit} are allowed`,
    limit,
  };
}

export function tooDeep(limits: DecodeLimits): FrameFault {
  return badFrame(`objects and arrays are nested more than ${limits.depth} deep`, limits.depth);
}

export function tooManyKeys(limits: DecodeLimits): FrameFault {
  return badFrame(`the objects in the frame have more than ${limits.keys} keys together`, limits.keys);
}

export function batchTooLong(limits: DecodeLimits): FrameFault {
  return badFrame(`the array holds more than ${limits.batch} frames`, limits.batch);
}

export const EMPTY_BATCH: FrameFault = badFrame('the array holds no frame');
export const NOT_A_FRAME: FrameFault = badFrame('a frame must be an object, or an array of objects');
