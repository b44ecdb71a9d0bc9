// Rule 6: changing subscriptions inside the `subscription` callback while the socket closes.
import * as uWS from '../../support/uws.mjs';

uWS
  .App()
  .ws('/*', {
    idleTimeout: 32,
    open: (ws) => {
      for (let i = 0; i < 20; i++) ws.subscribe(`room${i}`);
    },
    subscription: (ws, _topic, now, before) => {
      if (now < before) for (let i = 0; i < 20; i++) ws.unsubscribe(`room${i}`);
    },
  })
  .listen('127.0.0.1', 0, (socket) => console.log(uWS.us_socket_local_port(socket)));
