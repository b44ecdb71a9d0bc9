/** The bus of the simulation is held to what it stands for: what it does beyond that would prove nothing. */

import { SimBus } from '../simulation/bus/bus.ts';
import { SimStore } from '../simulation/bus/store.ts';
import { Mailbox } from '../simulation/mailbox.ts';
import { Truth } from '../simulation/truth.ts';
import { Rng } from '../support/rng.ts';
import { busContract } from './bus.ts';

const FREEDOMS = { late: 0.5, lost: 0.2, refused: 0, unheard: 0, cold: 0.5 };

let seed = 0;

busContract(
  'simulated',
  async () => {
    const rng = new Rng(++seed);
    const clock = { time: 1_760_000_000_000, now: () => clock.time };
    const truth = new Truth();
    const store = new SimStore(clock, truth);
    const mailbox = new Mailbox();
    // Whatever is posted is carried out soon, in an order that the seed decides.
    let running = false;
    mailbox.onPost = () => {
      if (running) return;
      running = true;
      setImmediate(() => {
        running = false;
        for (let tasks = 0; tasks < 50 && mailbox.runOne(rng); tasks++);
        if (!mailbox.empty) mailbox.onPost();
      });
    };
    const cluster = { store, mailbox, truth, clock, freedoms: FREEDOMS, rng: () => rng, nodes: [] };
    const [bus, peer] = [new SimBus('n1', cluster), new SimBus('n2', cluster)];
    return {
      bus,
      peer,
      advance: (ms) => {
        clock.time += ms;
        store.expire();
      },
      close: async () => {
        await bus.close();
        await peer.close();
      },
    };
  },
  { nodes: 2, exactBounds: true, ages: true },
);
