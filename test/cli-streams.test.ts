import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STREAMS_HELP, showApplied, streamsFlags } from '../src/cli/streams.ts';

test('the flags of streams apply, each of them in the help', () => {
  assert.deepEqual(streamsFlags([]), { ok: true, flags: { narrow: false, help: false } });
  assert.deepEqual(streamsFlags(['--config', 'a.yaml', '--narrow']), {
    ok: true,
    flags: { narrow: true, help: false, config: 'a.yaml' },
  });
  assert.ok(!streamsFlags(['--narow']).ok);
  for (const flag of ['--config', '--narrow']) assert.ok(STREAMS_HELP.includes(flag));
});

test('what was done, and what --narrow would drop or has dropped', () => {
  const none = { created: [], updated: [], unchanged: [], wider: [], narrowed: [] };
  const bound = { stream: 'A_0', difference: 'max_age is 1h, the settings say 10m', drops: 'what is older' };
  assert.equal(showApplied({ ...none, created: ['A_0', 'A_1'] }), 'created: A_0, A_1\n');
  assert.match(
    showApplied({ ...none, unchanged: ['A_0'], wider: [bound] }),
    /^unchanged: A_0\nleft wider: A_0: max_age is 1h, the settings say 10m; --narrow would drop: what is older\n.*--narrow\.\n$/,
  );
  assert.equal(
    showApplied({ ...none, updated: ['A_0'], narrowed: [bound] }),
    'updated: A_0\nnarrowed: A_0: max_age was 1h, the settings say 10m; dropped: what is older\n',
  );
});
