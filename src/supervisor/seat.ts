/** A worker's side of the channel: it answers its supervisor in the place of an admin listener. */
import type { NodeAdminOptions, Seat } from '../app.ts';
import type { Log } from '../broker/ports.ts';
import type { WebRequest } from '../broker/web.ts';
import type { Config } from '../config.ts';
import type { Admin } from '../ops/admin.ts';
import type { Begin, FromWorker, PlainAnswer, PlainRequest, Questions, ToWorker } from './messages.ts';

/** The channel, as the process has it. */
export interface Channel {
  send(message: FromWorker): void;
  on(heard: (message: ToWorker) => void): void;
}

/** The settings of one worker. */
export function seated(config: Config, { number, nodes, port }: Begin): Config {
  const perSecond = Math.max(1, Math.ceil(config.drain.perSecond / nodes.length));
  return {
    ...config,
    listen: { ...config.listen, port },
    node: { ...config.node, serverId: nodes[number - 1] as string },
    // All drain at once, and their clients come back elsewhere together.
    drain: { ...config.drain, perSecond },
  };
}

export function createSeat({ nodes }: Begin, channel: Channel, log: Log): Seat {
  return {
    admin: (options) => channelAdmin(channel, options, log),
    nodes,
    leaving: (leaving) => channel.send({ type: 'leaving', ...leaving }),
  };
}

type Asked = Extract<ToWorker, { type: 'ask' }>;

function channelAdmin(channel: Channel, options: NodeAdminOptions, log: Log): Admin {
  const answers: {
    readonly [W in keyof Questions]: (question: Questions[W][0]) => Promise<Questions[W][1]>;
  } = {
    readiness: async () => options.readiness(),
    metrics: () => options.metrics.readings(),
    web: (request) => answerWeb(options, request),
  };
  let open = false;
  const reply = async ({ id, what, question }: Asked): Promise<void> => {
    try {
      const answer = await (answers[what] as (question: unknown) => Promise<unknown>)(question);
      channel.send({ type: 'answer', id, answer });
    } catch (error) {
      log.error({ err: error, what }, 'a question of the supervisor could not be answered');
    }
  };
  return {
    listen: async () => {
      if (!open) channel.on((message) => void (open && message.type === 'ask' && reply(message)));
      open = true;
      return { host: '', port: 0 };
    },
    close: async () => {
      open = false;
    },
  };
}

async function answerWeb({ web }: NodeAdminOptions, request: PlainRequest): Promise<PlainAnswer | null> {
  return (await web?.(requestOf(request))) ?? null;
}

function requestOf({ method, path, queries, headers, address, body }: PlainRequest): WebRequest {
  return {
    method,
    path,
    address,
    query: (name) => queries[name],
    queries: () => queries,
    header: (name) => headers[name] ?? '',
    body: async (maxBytes) => (body !== undefined && body.byteLength <= maxBytes ? body : undefined),
  };
}
