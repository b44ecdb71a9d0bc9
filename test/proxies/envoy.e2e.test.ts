import { testHttp2, testProxy, testRenewal } from './suite.ts';

testProxy('envoy');
testHttp2('envoy');
testRenewal('envoy');
