import { testHttp2, testProxy, testReload } from './suite.ts';

testProxy('haproxy');
testReload('haproxy');
testHttp2('haproxy');
