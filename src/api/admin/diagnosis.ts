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
  ];
}
