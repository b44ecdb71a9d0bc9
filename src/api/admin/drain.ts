import { z } from 'zod';
import { askAll, type NodeDrainProgress, PATIENCE_MS, type Questions } from '../../broker/admin/node.ts';
import type { Cluster, NodeAnswer } from '../../broker/cluster.ts';
import { DRAIN_LIMITS } from '../../broker/drain/budget.ts';
import { together } from '../../broker/drain/together.ts';
import { type Reply, type Route, refused, route } from '../http/route.ts';
import { missing, reason } from './shapes.ts';

const nodeName = z.string().max(64);

/** @param machine names of the nodes that are meant where none is named */
export function draining(cluster: Cluster, machine: readonly string[]): Route[] {
  return [begin(cluster, machine), progress(cluster, machine)];
}

function begin(cluster: Cluster, machine: readonly string[]): Route {
  return route({
    method: 'POST',
    path: '/admin/v1/drain',
    scope: 'admin',
    summary:
      'Sends the clients of a node away in slots of their own: without `node` of this machine, all its workers; of every one with "all"',
    body: z.strictObject({
      node: nodeName.optional(),
      reason: reason.default('drained'),
      /** Absent: `drain.deadlineMs` of the node. */
      deadlineMs: z.number().int().min(100).max(3_600_000).optional(),
    }),
    answer: z.object({ draining: z.array(z.string()), missing }),
    handle: async ({ body }): Promise<Reply> => {
      const { node, ...question } = body;
      const names = cluster.nodes().map((info) => info.node);
      if (node === 'all') {
        const { missing: silent } = await askAll(cluster, 'admin.drain', { ...question, machine: true });
        return { answer: { draining: names.filter((name) => !silent.includes(name)), missing: silent } };
      }
      const asked = node === undefined ? { ...question, machine: true } : question;
      const answer = await askOne(cluster, node ?? cluster.node, 'admin.drain', asked);
      const meant = node === undefined ? machine.filter((name) => names.includes(name)) : [node];
      if (answer.ok) return { answer: { draining: meant, missing: [] } };
      return answer.why === 'unknown_node' ? NO_NODE : { answer: { draining: [], missing: meant } };
    },
  });
}

function progress(cluster: Cluster, machine: readonly string[]): Route {
  return route({
    method: 'GET',
    path: '/admin/v1/drain',
    scope: 'admin',
    summary: 'How far the drain of `node` is; without it that of this machine, of all its workers together',
    query: z.strictObject({ node: nodeName.optional() }),
    answer: z.object({
      nodes: z.array(z.string()),
      missing,
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
      const names = query.node === undefined ? machine : [query.node];
      const answers = await Promise.all(
        names.map(async (name) => [name, await askOne(cluster, name, 'admin.drain-progress', {})] as const),
      );
      const drains = answers.flatMap(([, answer]) => (answer.ok ? [answer.answer as NodeDrainProgress] : []));
      // Those that nobody knows are no part of it: a worker that has ended.
      const silent = answers.flatMap(([name, answer]) =>
        answer.ok || answer.why === 'unknown_node' ? [] : [name],
      );
      if (drains.length > 0)
        return {
          answer: { nodes: drains.map(({ node }) => node), missing: silent, ...together(drains) },
        };
      return silent.length === 0
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
