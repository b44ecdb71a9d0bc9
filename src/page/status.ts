import type { Quality, State } from '../client/index.ts';
import { byId } from './dom.ts';

/** Round trips in the small chart. */
const SPARK_POINTS = 40;
const COUNTDOWN_MS = 100;

/** The banner that says how the connection is, and the figures beside the conversation. */
export class StatusView {
  readonly #banner = byId('banner');
  readonly #text = byId('banner-text');
  readonly #again = byId('again');
  readonly #rtts: number[] = [];
  #countdown: ReturnType<typeof setInterval> | undefined;

  show(state: State): void {
    clearInterval(this.#countdown);
    this.#banner.hidden = false;
    this.#banner.dataset['state'] = state.name;
    this.#again.hidden = state.name !== 'closed';
    if (state.name !== 'waiting') {
      this.#text.textContent = textOf(state);
      return;
    }
    const until = performance.now() + state.delayMs;
    const tell = () => {
      const left = Math.max(0, until - performance.now()) / 1000;
      this.#text.textContent = `Connection lost. Attempt ${state.attempt} in ${left.toFixed(1)} s. What you write is kept and sent then.`;
    };
    tell();
    this.#countdown = setInterval(tell, COUNTDOWN_MS);
  }

  hide(): void {
    clearInterval(this.#countdown);
    this.#banner.hidden = true;
  }

  latency(rttMs: number): void {
    byId('rtt').textContent = `${rttMs.toFixed(1)} ms`;
    this.#rtts.push(rttMs);
    if (this.#rtts.length > SPARK_POINTS) this.#rtts.shift();
    const highest = Math.max(1, ...this.#rtts);
    const first = SPARK_POINTS - this.#rtts.length;
    const points = this.#rtts.map(
      (ms, at) => `${((first + at) * 120) / (SPARK_POINTS - 1)},${31 - (ms / highest) * 29}`,
    );
    byId<SVGPolylineElement>('spark').setAttribute('points', points.join(' '));
  }

  quality({ level, causes }: Quality): void {
    const element = byId('quality');
    element.textContent = level === 'healthy' ? 'good' : `weak: ${causes.join(', ')}`;
    element.classList.toggle('alert', level === 'weak');
  }

  figure(id: 'seq' | 'reconnects' | 'gaps' | 'healed' | 'waiting', value: number | string): void {
    const element = byId(id);
    element.textContent = String(value);
    element.classList.toggle('alert', id === 'gaps' && value !== 0);
  }
}

function textOf(state: Exclude<State, { name: 'waiting' }>): string {
  if (state.name === 'open') return `Connected to node ${state.info.serverId} as ${state.info.user}.`;
  if (state.name === 'connecting') return state.attempt === 0 ? 'Connecting…' : `Attempt ${state.attempt}…`;
  return `Closed: ${state.error?.reason ?? 'you left'}.`;
}
