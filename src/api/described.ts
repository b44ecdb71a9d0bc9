import { type RouteParts, routesOf } from './api.ts';
import { openApi } from './http/openapi.ts';
import type { Route } from './http/route.ts';

/** docs/openapi.json: of an installation with the default limits. Nothing is asked of the nodes to describe them. */
export function describedApi(version: string): object {
  return openApi(describedRoutes(), version);
}

export function describedRoutes(): Route[] {
  const limits = { bodyBytes: 1024 * 1024, broadcastTargets: 1000, failuresPerMinute: 60 };
  return routesOf({ limits, exclusions: {} } as RouteParts);
}
