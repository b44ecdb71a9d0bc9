import { z } from 'zod';
import { readUsage } from '../../broker/admin/usage.ts';
import type { Cluster } from '../../broker/cluster.ts';
import { COUNTS, type UsageCounts } from '../../broker/ledger.ts';
import { STEPS, type UsageBook, type UsageRow } from '../../broker/usage.ts';
import { type Reply, type Route, refused, route } from '../http/route.ts';
import { missing, tenantName } from './shapes.ts';

/** One tenant's week by the minute is 10,080. */
const ROWS = 20_000;
const STEP_NAMES = Object.keys(STEPS) as (keyof typeof STEPS)[];

const time = z
  .union([z.coerce.number().int().min(0), z.iso.datetime({ offset: true })])
  .describe('Milliseconds since 1970, or a date and time as 2026-01-31T00:00:00Z');

const counts = z.object({
  messagesIn: z.number(),
  deliveries: z.number(),
  bytesIn: z.number(),
  bytesOut: z.number(),
  payloadBytes: z.number(),
  durableBytes: z.number(),
  ephemeralIn: z.number(),
  ephemeralDeliveries: z.number(),
  connectionMinutes: z.number(),
});

export function usage(cluster: Cluster, book: UsageBook): Route[] {
  return [
    route({
      method: 'GET',
      path: '/admin/v1/usage',
      scope: 'admin',
      tenantOf: ({ query }) => query.tenant,
      summary: 'What tenants have used, by the minute, hour or day, on all nodes, up to this moment',
      query: z.strictObject({
        tenant: tenantName.optional(),
        from: time
          .optional()
          .describe('From the minute of this time on; without it from the beginning of the day, UTC'),
        to: time.optional().describe('To before this time; without it until now'),
        step: z.enum(STEP_NAMES).default('minute'),
      }),
      answer: z.object({
        from: z.number(),
        to: z.number(),
        usage: z.array(counts.extend({ tenant: z.string(), at: z.number() })),
        totals: z.array(counts.extend({ tenant: z.string() })),
        missing,
      }),
      handle: async ({ query: { tenant, from, to, step } }) => {
        const until = msOf(to) ?? Date.now() + 1;
        const begin = msOf(from) ?? startOfDay(until);
        if (begin >= until) return refused(400, 'bad_request', '"from" has to be before "to"');
        const since = Math.floor(begin / STEPS.minute) * STEPS.minute;
        const read = await readUsage(cluster, book, { tenant, from: since, to: until }, step);
        if (!read.report.ok) return unread(read.report.why);
        const { rows } = read.report;
        if (rows.length > ROWS) return unread('too_many');
        return {
          answer: {
            from: since,
            to: until,
            usage: rows.map((row) => ({ tenant: row.tenant, at: row.at, ...shown(row) })),
            totals: totalsOf(rows),
            missing: read.missing,
          },
        };
      },
    }),
  ];
}

function unread(why: 'unavailable' | 'too_many'): Reply {
  return why === 'unavailable'
    ? refused(503, 'unavailable', 'the usage cannot be read now', 1000)
    : refused(
        400,
        'bad_request',
        `that is more than ${ROWS} rows: name a tenant, a shorter time, or step=hour or day`,
      );
}

function msOf(given: number | string | undefined): number | undefined {
  return typeof given === 'string' ? Date.parse(given) : given;
}

function startOfDay(ms: number): number {
  return Math.floor((ms - 1) / STEPS.day) * STEPS.day;
}

function shown(row: UsageCounts) {
  const { connectionMs, ...counts } = Object.fromEntries(
    COUNTS.map((count) => [count, row[count]]),
  ) as UsageCounts;
  return { ...counts, connectionMinutes: Math.round(connectionMs / 60) / 1000 };
}

function totalsOf(rows: readonly UsageRow[]) {
  const totals = new Map<string, Record<keyof UsageCounts, number>>();
  for (const row of rows) {
    const total = totals.get(row.tenant);
    if (total === undefined) totals.set(row.tenant, { ...row });
    else for (const count of COUNTS) total[count] += row[count];
  }
  return [...totals].map(([tenant, total]) => ({ tenant, ...shown(total) }));
}
