import { z } from 'zod';
import { askAll, PATIENCE_MS, type Questions } from '../../broker/admin/node.ts';
import type { Cluster, NodeAnswer } from '../../broker/cluster.ts';
import { DRAIN_LIMITS } from '../../broker/drain/budget.ts';
import { type Reply, type Route, refused, route } from '../http/route.ts';
import { missing, reason } from './shapes.ts';

const nodeName = z.string().max(64);

export function draining(cluster: Cluster): Route[] {
  return [begin(cluster), progress(cluster)];
}

function begin(cluster: Cluster): Route {
  return route({
    method: 'POST',
    path: '/admin/v1/drain',
    scope: 'admin',
    summary:
      'Sends the clients of a node away in slots of their own, this one without `node`, every one with "all"',
    body: z.strictObject({
      node: nodeName.optional(),
      reason: reason.default('drained'),
      /** Absent: `drain.deadlineMs` of the node. */
      deadlineMs: z.number().int().min(100).max(3_600_000).optional(),
    }),
    answer: z.object({ draining: z.array(z.string()), missing }),
    handle: async ({ body }): Promise<Reply> => {
      const { node = cluster.node, ...question } = body;
      if (node === 'all') {
        const names = cluster.nodes().map((info) => info.node);
        const { missing: silent } = await askAll(cluster, 'admin.drain', question);
        return { answer: { draining: names.filter((name) => !silent.includes(name)), missing: silent } };
      }
      const answer = await askOne(cluster, node, 'admin.drain', question);
      if (answer.ok) return { answer: { draining: [node], missing: [] } };
      return answer.why === 'unknown_node' ? NO_NODE : { answer: { draining: [], missing: [node] } };
    },
  });
}

function progress(cluster: Cluster): Route {
  return route({
    method: 'GET',
    path: '/admin/v1/drain',
    scope: 'admin',
    summary: 'How far the drain of a node is: of this one, or of `node`',
    query: z.strictObject({ node: nodeName.optional() }),
    answer: z.object({
      node: z.string(),
      state: z.enum(['none', 'draining', 'drained']),
      total: z.number(),
      left: z.number(),
      perSecond: z.number(),
      limit: z.enum(DRAIN_LIMITS),
      limitedBy: z.string().optional(),
      survivors: z.number(),
      elapsedMs: z.number(),
      deadlineMs: z.number(),
    }),
    handle: async ({ query }): Promise<Reply> => {
      const answer = await askOne(cluster, query.node ?? cluster.node, 'admin.drain-progress', {});
      if (answer.ok) return { answer: answer.answer as object };
      return answer.why === 'unknown_node'
        ? NO_NODE
        : refused(503, 'unavailable', 'the node does not answer', PATIENCE_MS);
    },
  });
}

const NO_NODE = refused(404, 'not_found', 'there is no node of that name');

function askOne<T extends keyof Questions>(
  cluster: Cluster,
  node: string,
  topic: T,
  question: Questions[T][0],
): Promise<NodeAnswer> {
  return cluster.askNode(node, topic, question, PATIENCE_MS);
}
