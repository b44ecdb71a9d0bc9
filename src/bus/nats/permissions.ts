/**
 * The least that NATS users of an installation need; test/bus/nats/security.test.ts holds it. A wildcard stands for
 * whole tokens only, so that streams cannot be named by their prefix: give the installation an account of its own,
 * or write the names of its streams, that of the cursors too, in place of the `*`.
 */
export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** A broker. With `nats.manageStreams` it needs `CREATE_STREAMS` as well. */
export function brokerPermissions(prefix: string): Permissions {
  return {
    publish: [`${prefix}.>`, '$JS.API.STREAM.INFO.*', '$JS.API.STREAM.MSG.GET.*', '$JS.API.DIRECT.GET.*'],
    subscribe: [
      `${prefix}.live.>`,
      `${prefix}.ctl.>`,
      `_INBOX_${prefix}.>`,
      '$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.*',
      '$JS.EVENT.ADVISORY.STREAM.CREATED.*',
    ],
  };
}

export const CREATE_STREAMS = '$JS.API.STREAM.CREATE.*';

/** `carillon streams apply`. */
export function applyPermissions(prefix: string): Permissions {
  return {
    publish: [CREATE_STREAMS, '$JS.API.STREAM.UPDATE.*', '$JS.API.STREAM.INFO.*'],
    subscribe: [`_INBOX_${prefix}.>`],
  };
}
