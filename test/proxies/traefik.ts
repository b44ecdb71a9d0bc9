/** `npm run proxies:traefik`, where there is one on PATH: no test of CI, which cannot have it in its time. */
import { testProxy, testReload, testRenewal } from './suite.ts';

testProxy('traefik');
testReload('traefik');
testRenewal('traefik');
