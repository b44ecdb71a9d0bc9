import type { Backend } from '../broker/admin/backend.ts';
import type { Cluster } from '../broker/cluster.ts';
import { routesOf } from './api.ts';
import { openApi } from './http/openapi.ts';

/** docs/openapi.json: of an installation with the default limits. Nothing is asked of the nodes to describe them. */
export function describedApi(version: string): object {
  const limits = { bodyBytes: 1024 * 1024, broadcastTargets: 1000, failuresPerMinute: 60 };
  return openApi(routesOf({} as Cluster, {} as Backend, limits), version);
}
