import { Transform } from 'node:stream';

const NEWLINE = 0x0a;

/** Passes on whole lines only, so that what several processes log does not mix within one. */
export function wholeLines(): Transform {
  let rest = Buffer.alloc(0);
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const end = chunk.lastIndexOf(NEWLINE) + 1;
      if (end === 0) rest = Buffer.concat([rest, chunk]);
      else {
        this.push(Buffer.concat([rest, chunk.subarray(0, end)]));
        rest = Buffer.from(chunk.subarray(end));
      }
      done();
    },
    flush(done) {
      // Cut short by the end of its process.
      if (rest.byteLength > 0) this.push(Buffer.concat([rest, Buffer.from([NEWLINE])]));
      done();
    },
  });
}
