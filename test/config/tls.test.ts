/** Certificates that cannot be used stop the start, with the key, the value and what to do. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ConfigProblem, loadConfig } from '../../src/config.ts';
import { certificateFolder } from '../support/certificates.ts';
import { authority } from '../support/certs.ts';

function load(tls: object) {
  return loadConfig({ env: {}, text: JSON.stringify({ tls }), openFiles: 20_000 });
}

/** The one problem. */
function problemOf(tls: object): ConfigProblem {
  const result = load(tls);
  assert.ok(!result.ok);
  assert.equal(result.problems.length, 1, JSON.stringify(result.problems));
  return result.problems[0] as ConfigProblem;
}

test('good files are taken, with absolute paths and the defaults', (t) => {
  const { ca, write } = certificateFolder(t);
  const files = write('server', ca.issue('broker.test'));
  const result = load({ ...files, sni: [{ names: ['broker.test'], ...files }] });
  assert.ok(result.ok, JSON.stringify(result));
  assert.deepEqual(result.config.tls, {
    ...files,
    minVersion: 'TLSv1.2',
    clientCert: 'off',
    sni: [{ names: ['broker.test'], ...files }],
    debounceMs: 200,
    pollMs: 30_000,
    warnMs: 21 * 24 * 3_600_000,
  });
});

test('each kind of bad file is told by its key and its path', (t) => {
  const { ca, write, folder } = certificateFolder(t);
  const good = write('good', ca.issue('broker.test'));
  const other = write('other', ca.issue('broker.test'));
  const ended = write('ended', ca.issue('broker.test', -0.5));
  const garbage = join(folder, 'garbage');
  writeFileSync(garbage, '-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n');
  const ed25519 = join(folder, 'ed25519.key');
  const { privateKey } = generateKeyPairSync('ed25519');
  writeFileSync(ed25519, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const locked = join(folder, 'locked.key');
  const cipher = { cipher: 'aes-256-cbc', passphrase: 'x' };
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  writeFileSync(locked, ec.export({ type: 'pkcs8', format: 'pem', ...cipher }));
  const cases: readonly (readonly [object, string, string, RegExp])[] = [
    [{ ...good, certFile: '/nowhere' }, 'tls.certFile', '/nowhere', /cannot be read \(ENOENT\)/],
    [{ ...good, certFile: garbage }, 'tls.certFile', garbage, /no certificate in PEM/],
    [ended, 'tls.certFile', ended.certFile, /has ended on /],
    [{ ...good, keyFile: '/nowhere' }, 'tls.keyFile', '/nowhere', /cannot be read \(ENOENT\)/],
    [{ ...good, keyFile: good.certFile }, 'tls.keyFile', good.certFile, /no private key in PEM/],
    [{ ...good, keyFile: locked }, 'tls.keyFile', locked, /without a passphrase/],
    [{ ...good, keyFile: other.keyFile }, 'tls.keyFile', other.keyFile, /not the certificate's key/],
    [{ ...good, keyFile: ed25519 }, 'tls.keyFile', ed25519, /ed25519/],
    [{ ...good, clientCert: 'require', caFile: garbage }, 'tls.caFile', garbage, /no certificate in PEM/],
    [
      { ...good, clientCert: 'require', caFile: good.certFile },
      'tls.caFile',
      good.certFile,
      /none of an authority/,
    ],
    [
      { ...good, sni: [{ names: ['*.example.com'], ...other }] },
      'tls.sni.0.names',
      '*.example.com',
      /not for \*\.example\.com/,
    ],
    [
      { ...good, sni: [{ names: ['broker.test'], ...other, keyFile: good.keyFile }] },
      'tls.sni.0.keyFile',
      good.keyFile,
      /not the certificate's key/,
    ],
  ];
  for (const [tls, key, value, expected] of cases) {
    const problem = problemOf(tls);
    assert.equal(problem.key.replace(/\[(\d+)\]/g, '.$1'), key);
    assert.equal(problem.value, value);
    assert.match(problem.expected, expected);
    assert.ok(problem.fix, key);
  }
});

test('settings that contradict one another are refused', (t) => {
  const { ca, write } = certificateFolder(t);
  const good = write('good', ca.issue('broker.test'));
  const { certFile: caFile } = write('ca', authority('clients'));
  const broker = { names: ['broker.test'], ...good };
  assert.equal(problemOf({ ...good, clientCert: 'request' }).key, 'tls.clientCert');
  assert.equal(problemOf({ ...good, caFile }).key, 'tls.caFile');
  assert.equal(problemOf({ ...good, sni: [broker, broker] }).key, 'tls.sni');
  assert.equal(problemOf({ certFile: good.certFile }).key, 'tls.keyFile');
});
