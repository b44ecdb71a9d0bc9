/**
 * Draws config/grafana/carillon.json from the metrics of two real brokers on NATS under a short load, evaluated by a real
 * Prometheus with the shipped rules: `npm run dashboard:picture`. Says which panels have nothing to show.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { launchChromium } from '../../test/support/chromium.ts';
import { NatsCluster } from '../../test/support/nats/cluster.ts';
import { type Pod, startPods } from '../chaos/pods.ts';
import { expressionOf, type Line, linesOf, type Panel, page } from './draw.ts';
import { type Prometheus, startPrometheus } from './prometheus.ts';
import { Traffic } from './traffic.ts';

const SECONDS = Number(process.argv[2] ?? 60);
const RATE_SECONDS = 10;
/** So that somebody is refused. */
const CONFIG = { limits: { roomsPerConnection: 4 } };
const PICTURE = fileURLToPath(new URL('../../docs/operations/dashboard.png', import.meta.url));
const dashboard = JSON.parse(
  readFileSync(new URL('../../config/grafana/carillon.json', import.meta.url), 'utf8'),
) as { readonly title: string; readonly panels: readonly Panel[] };

const nats = await NatsCluster.start(1);
const pods = await startPods({ count: 2, natsUrls: nats.urls, config: CONFIG });
const prometheus = await startPrometheus(
  new Map(pods.map(({ name, broker }) => [name, hostOf(broker.adminUrl)])),
);
const traffic = new Traffic(pods);
try {
  const from = Date.now() / 1000;
  await traffic.run(SECONDS);
  await draw(await panelsOf(prometheus, from, Date.now() / 1000));
} finally {
  traffic.close();
  await prometheus.close();
  await Promise.all(pods.map((pod: Pod) => pod.close()));
  await nats.close();
}

async function panelsOf(source: Prometheus, from: number, to: number): Promise<[Panel, readonly Line[]][]> {
  const drawn: [Panel, readonly Line[]][] = [];
  for (const panel of dashboard.panels) {
    const lines: Line[] = [];
    for (const target of panel.targets ?? [])
      lines.push(...linesOf(target, await source.range(expressionOf(target, RATE_SECONDS), from, to, 1)));
    if (panel.type !== 'row' && lines.every(({ points }) => points.length === 0))
      process.stdout.write(`nothing to show: ${panel.title}\n`);
    drawn.push([panel, lines]);
  }
  return drawn;
}

async function draw(panels: readonly [Panel, readonly Line[]][]): Promise<void> {
  const note = `two brokers on NATS, ${SECONDS} s of load, drawn by npm run dashboard:picture`;
  const browser = await launchChromium();
  try {
    const tab = await browser.newPage({ viewport: { width: 1056, height: 900 } });
    await tab.setContent(page(dashboard.title, note, panels));
    await tab.screenshot({ path: PICTURE, fullPage: true });
  } finally {
    await browser.close();
  }
  process.stdout.write(`${PICTURE}\n`);
}

function hostOf(url: string): string {
  return new URL(url).host;
}
