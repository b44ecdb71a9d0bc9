// Rule 5: publishing on an App that has no WebSocket route yet.
import * as uWS from '../../support/uws.mjs';

const app = uWS.App();
app.publish('room', 'hello');
console.log('alive');
