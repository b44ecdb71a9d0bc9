/** What a tenant gets of its limits on four brokers, and what ten quiet tenants notice of a hot one. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { fairness } from './fairness.mjs';
import { quotas } from './pods.mjs';
import { fairnessMarkdown, missedMarks, quotasMarkdown } from './report.mjs';

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string' },
    seconds: { type: 'string', default: '15' },
    main: { type: 'string', default: 'dist/main.js' },
    check: { type: 'boolean', default: false },
    markdown: { type: 'string' },
  },
});
const settings = { seconds: Number(flags.seconds), main: flags.main };
const texts = [];
const missed = [];

function tell(text) {
  texts.push(text);
  console.log(text);
}

if (flags.only !== 'fairness') {
  const result = await quotas(settings);
  missed.push(...missedMarks(result));
  tell(quotasMarkdown(result));
}
if (flags.only !== 'quotas') tell(fairnessMarkdown(await fairness(settings)));
for (const line of missed) console.log(`missed: ${line}`);
if (flags.markdown !== undefined) {
  mkdirSync(dirname(flags.markdown), { recursive: true });
  writeFileSync(flags.markdown, texts.join('\n'));
}
process.exit(flags.check && missed.length > 0 ? 1 : 0);
