import { z } from 'zod';
import { askAll } from '../../broker/admin/node.ts';
import type { Cluster } from '../../broker/cluster.ts';
import { type Route, route } from '../http/route.ts';
import { missing } from './shapes.ts';

export function diagnosis(cluster: Cluster): Route[] {
  return [
    route({
      method: 'GET',
      path: '/admin/v1/diagnostics',
      scope: 'admin',
      summary:
        'What to send along with a question: versions, settings without secrets, state and recent problems',
      answer: z.object({ nodes: z.array(z.looseObject({ node: z.string() })), missing }),
      handle: async () => {
        const { answers, missing: silent } = await askAll(cluster, 'admin.diagnostics', {});
        return { answer: { nodes: answers, missing: silent } };
      },
    }),
    keys(
      cluster,
      'GET',
      '/admin/v1/keys',
      'The keys that tokens are verified with, without the keys themselves',
    ),
    keys(
      cluster,
      'POST',
      '/admin/v1/keys/refresh',
      'Fetches the key sets behind URLs now, on every node; then as GET keys',
    ),
  ];
}

function keys(cluster: Cluster, method: 'GET' | 'POST', path: string, summary: string): Route {
  return route({
    method,
    path,
    scope: 'admin',
    summary,
    answer: z.object({
      nodes: z.array(z.object({ node: z.string(), issuers: z.array(issuerKeys) })),
      missing,
    }),
    handle: async () => {
      const { answers, missing: silent } = await askAll(cluster, 'admin.keys', {
        refresh: method === 'POST',
      });
      return { answer: { nodes: answers, missing: silent } };
    },
  });
}

const issuerKeys = z.object({
  issuer: z.string(),
  keys: z.array(
    z.object({ kid: z.string().optional(), alg: z.string(), source: z.enum(['static', 'file', 'url']) }),
  ),
});
