type Listener<Value> = (value: Value) => void;

/** Typed events. `Events` maps each name to what its listeners receive. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>();

  /** Returns what takes the listener off again. */
  on<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }

  emit<Name extends keyof Events>(name: Name, value: Events[Name]): void {
    const listeners = this.#listeners.get(name);
    if (listeners === undefined) return;
    for (const listener of [...listeners] as Listener<Events[Name]>[]) {
      try {
        listener(value);
      } catch (error) {
        // A listener's fault may not stop the protocol half way through a frame: it surfaces as an uncaught
        // error of its own turn, as with DOM events.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
