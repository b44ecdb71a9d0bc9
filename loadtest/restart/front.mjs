/** Where clients connect: at the brokers themselves, at one after the other, or at HAProxy with the shipped configuration. */
import { startProxy } from '../../test/support/proxies.ts';

/** Connections have two descriptors there; as shipped it asks for more than a small machine gives. */
const MAX_CONNECTIONS = 9000;

/** With the checks of readiness that the file's comment tells of, at the admin listener. */
function haproxyEdits(pods) {
  const servers = pods.map(({ address, admin, name }) => {
    const port = admin.split(':')[1];
    return `  server ${name} ${address} check port ${port} inter 500ms fall 1 rise 1`;
  });
  return {
    'maxconn 30000': `maxconn ${MAX_CONNECTIONS}`,
    '  balance leastconn': `  balance leastconn
  option httpchk
  http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host broker
  option redispatch
  retries 2`,
    [`  server broker1 ${pods[0].address}`]: servers.join('\n'),
  };
}

/** `urls(pods)`: those that clients may use while these pods serve. `stopping` collects what has to be stopped. */
export async function front(kind, pods, stopping) {
  if (kind === 'none') return { urls: (serving) => serving.map(({ url }) => url) };
  const after = (stop) => void stopping.unshift(stop);
  const proxy = await startProxy({ after }, kind, pods[0].address, haproxyEdits(pods));
  const url = `wss://127.0.0.1:${proxy.port}/connect`;
  return { urls: () => [url], authority: proxy.ca };
}
