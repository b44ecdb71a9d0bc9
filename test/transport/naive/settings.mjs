// Rule 8: settings that uWebSockets.js answers with the end of the process instead of an exception.
import * as uWS from '../../support/uws.mjs';

try {
  uWS.App().ws('/*', JSON.parse(process.argv[2]));
} catch (error) {
  console.log('caught', error.message);
}
console.log('alive');
