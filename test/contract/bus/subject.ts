import { type TestContext, test } from 'node:test';
import type { Bus } from '../../../src/broker/ports.ts';

/** A started bus of its own for one test: no room of another test is known to it. */
export interface BusUnderTest {
  readonly bus: Bus;
  /** A second node on the same store, where `traits.nodes` is 2. */
  readonly peer?: Bus;
  /** Moves the clock by which events age, where `traits.ages`. */
  readonly advance?: (ms: number) => void | Promise<void>;
  /** Closes everything that was made for the test, the buses too. */
  close(): Promise<void>;
}

/** What not every implementation, or not every set-up of one, can be asked for. */
export interface BusTraits {
  readonly nodes: 1 | 2;
  /** Count and byte bounds of a room's policy hold exactly as soon as a publish is settled. */
  readonly exactBounds: boolean;
  /** `advance` is there. */
  readonly ages: boolean;
}

type Body = (subject: BusUnderTest) => Promise<void>;
/** Registers one promise as a test, with a bus of its own. `needs` says what the bus must have for it. */
export type Promised = (title: string, body: Body, needs?: Partial<BusTraits>) => void;

export function promises(name: string, make: () => Promise<BusUnderTest>, traits: BusTraits): Promised {
  return (title, body, needs = {}) => {
    const skip = has(traits, needs) ? false : 'the bus under test does not have what this needs';
    test(`${name}: ${title}`, { timeout: 20_000, skip }, async (context: TestContext) => {
      const subject = await make();
      context.after(() => subject.close());
      await body(subject);
    });
  };
}

function has(traits: BusTraits, needs: Partial<BusTraits>): boolean {
  return (
    traits.nodes >= (needs.nodes ?? 1) &&
    (traits.exactBounds || needs.exactBounds !== true) &&
    (traits.ages || needs.ages !== true)
  );
}
