/** A real Prometheus, which scrapes and evaluates as the one of an installation does. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freeAddress } from '../../test/support/port.ts';
import { debianPackage, goInstall, provide } from '../../test/support/provide.ts';

const RULES = fileURLToPath(new URL('../../config/alerts/carillon.yaml', import.meta.url));

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  /** Seconds since 1970, and the value as text. */
  readonly values: readonly (readonly [number, string])[];
}

export interface Prometheus {
  /** Between two times in seconds since 1970. Throws for an expression that it does not take. */
  range(query: string, from: number, to: number, step: number): Promise<readonly Series[]>;
  close(): Promise<void>;
}

/** @param targets admin listeners, `host:port`, by the name that `instance` gets */
export async function startPrometheus(targets: ReadonlyMap<string, string>): Promise<Prometheus> {
  const { path } = await provide({
    name: 'prometheus',
    wanted: { version: '0.315.0', atLeast: '0.40.0', below: '4.0.0' },
    versionArgs: ['--version'],
    attempts: [
      ['debian', debianPackage('prometheus', 'usr/bin/prometheus')],
      ['go', goInstall('prometheus', (v) => `github.com/prometheus/prometheus/cmd/prometheus@v${v}`)],
    ],
    hint: 'Install prometheus yourself, or Go, so that `go install` can build it.',
  });
  const folder = mkdtempSync(join(tmpdir(), 'carillon-prometheus-'));
  copyFileSync(RULES, join(folder, 'rules.yaml'));
  // JSON is YAML.
  writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(settings(targets)));
  const address = await freeAddress();
  const args = [
    `--config.file=${folder}/prometheus.yml`,
    `--storage.tsdb.path=${folder}/data`,
    `--web.listen-address=${address}`,
    '--log.level=error',
  ];
  const child = spawn(path, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const orphan = () => child.kill('SIGKILL');
  process.once('exit', orphan);
  await ready(`http://${address}/-/ready`);
  return {
    range: (query, from, to, step) => range(`http://${address}/api/v1/query_range`, query, from, to, step),
    close: async () => {
      process.removeListener('exit', orphan);
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function settings(targets: ReadonlyMap<string, string>): object {
  return {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: ['rules.yaml'],
    scrape_configs: [
      {
        job_name: 'carillon',
        static_configs: [...targets].map(([instance, target]) => ({
          targets: [target],
          labels: { instance, cluster: 'local', namespace: 'rt' },
        })),
      },
    ],
  };
}

async function ready(url: string): Promise<void> {
  for (let left = 300; left > 0; left--) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok) return;
    await sleep(100);
  }
  throw new Error('Prometheus is not ready after 30 s');
}

async function range(url: string, query: string, from: number, to: number, step: number) {
  const asked = new URLSearchParams({
    query,
    start: String(from),
    end: String(to),
    step: String(step),
  });
  const answer = await fetch(`${url}?${asked}`);
  const body = (await answer.json()) as {
    readonly error?: string;
    readonly data?: { readonly result: readonly Series[] };
  };
  if (body.data === undefined) throw new Error(`Prometheus does not take ${query}: ${body.error}`);
  return body.data.result;
}
