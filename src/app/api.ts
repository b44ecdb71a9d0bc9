import { type Api, type ApiParts, createApi } from '../api/api.ts';
import { dryRun } from '../broker/access/dry-run.ts';
import type { NodeView } from '../broker/admin/view.ts';
import { explainMessage } from '../broker/fate/verdict.ts';
import { type Config, parsePolicy } from '../config.ts';
import { nowMs } from './time.ts';

type ApiNeeds = Pick<ApiParts, 'cluster' | 'machine' | 'exclusions' | 'usage' | 'gate' | 'log'>;

export function createNodeApi(config: Config, view: NodeView, needs: ApiNeeds): Api {
  const { gate } = needs;
  const { backend, policies } = view;
  const known = { rooms: config.rooms, defaultRooms: config.auth.defaultRooms };
  return createApi({
    ...needs,
    backend,
    policies,
    explain: (question) => dryRun({ gate, policies, ...known }, question),
    explainMessage: (question) => explainMessage(needs.cluster, view.fates, question),
    parsePolicy: (value) => parsePolicy(value, config.limits.schemas),
    adminToken: config.admin.token,
    limits: config.api,
    frames: config.limits,
    nowMs,
  });
}
