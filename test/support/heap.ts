/** What lives on the heap of a broker that runs as a process of its own: counted by kind, from heap snapshots. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { RunningBroker } from './broker.ts';

/** For the broker's environment. */
export const INSPECTED = { NODE_OPTIONS: '--inspect=127.0.0.1:0' };

interface Raw {
  readonly snapshot: {
    readonly meta: {
      readonly node_fields: readonly string[];
      readonly node_types: readonly [readonly string[]];
      readonly edge_fields: readonly string[];
      readonly edge_types: readonly [readonly string[]];
    };
  };
  readonly nodes: readonly number[];
  readonly edges: readonly number[];
  readonly strings: readonly string[];
}

/** What the engine makes for itself, whenever it sees fit: compiled code, shapes of objects. */
const ENGINE = new Set(['code', 'hidden', 'object shape', 'synthetic', 'number', 'bigint']);
const TEXT = new Set(['string', 'concatenated string', 'sliced string']);
/** More names than these do not help to know a plain object. */
const NAMES = 8;

/** All objects that were reachable at one moment. */
export class HeapSnapshot {
  readonly #raw: Raw;
  readonly #nodeFields: number;
  readonly #edgeFields: number;
  readonly #nodeTypes: readonly string[];
  readonly #edgeTypes: readonly string[];
  /** By node, its first edge. */
  readonly #edgesFrom: Uint32Array;
  /** By node; empty: not counted. */
  readonly #kinds: readonly string[];
  /** By node, the edge that it was reached by first; -1: not reached. */
  readonly #reachedBy: Int32Array;
  readonly #reachedFrom: Uint32Array;

  /** @param apart `Class.field`: what is only held there is not counted */
  constructor(text: string, apart: ReadonlySet<string>) {
    this.#raw = JSON.parse(text) as Raw;
    const { meta } = this.#raw.snapshot;
    this.#nodeFields = meta.node_fields.length;
    this.#edgeFields = meta.edge_fields.length;
    this.#nodeTypes = meta.node_types[0];
    this.#edgeTypes = meta.edge_types[0];
    const nodes = this.#raw.nodes.length / this.#nodeFields;
    this.#edgesFrom = this.#firstEdges(nodes, meta.node_fields.indexOf('edge_count'));
    this.#kinds = Array.from({ length: nodes }, (_, node) => this.#kindOf(node));
    this.#reachedBy = new Int32Array(nodes).fill(-1);
    this.#reachedFrom = new Uint32Array(nodes);
    this.#reach(apart);
  }

  /** By kind: the class; for plain objects the names of their properties; the name of a function. */
  counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const [node, kind] of this.#kinds.entries())
      if (kind !== '' && this.#reachedBy[node] !== -1) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    return counts;
  }

  /** How one that is not in the earlier snapshot is held, from the root on. */
  path(kind: string, earlier: HeapSnapshot | undefined): string {
    const known = new Set(earlier?.ids(kind));
    const added = this.#nodesOf(kind).filter((node) => !known.has(this.#idOf(node)));
    const steps: string[] = [];
    let node = added[Math.floor(added.length / 2)] ?? 0;
    for (; node !== 0; node = this.#reachedFrom[node] as number)
      steps.unshift(`${this.#nameOf(this.#reachedBy[node] as number)} = ${this.#kinds[node] || 'internal'}`);
    return steps.join('\n    ');
  }

  /** The engine's own, which hold while the object lives. */
  ids(kind: string): number[] {
    return this.#nodesOf(kind).map((node) => this.#idOf(node));
  }

  #nodesOf(kind: string): number[] {
    return this.#kinds.flatMap((one, node) => (one === kind && this.#reachedBy[node] !== -1 ? [node] : []));
  }

  #idOf(node: number): number {
    return this.#raw.nodes[node * this.#nodeFields + 2] as number;
  }

  #firstEdges(count: number, field: number): Uint32Array {
    const first = new Uint32Array(count + 1);
    for (let node = 0; node < count; node++) {
      const edges = this.#raw.nodes[node * this.#nodeFields + field] as number;
      first[node + 1] = (first[node] as number) + edges * this.#edgeFields;
    }
    return first;
  }

  /** Breadth first: the shortest way is the one that a person understands. */
  #reach(apart: ReadonlySet<string>): void {
    // Texts in the engine's own tables are of no object, and stay there until it sees fit.
    const roots = new Set(['synthetic', 'hidden']);
    const fields = new Set([...apart].map((place) => place.split('.')[1]));
    const queue = [0];
    for (let at = 0; at < queue.length; at++) {
      const node = queue[at] as number;
      const end = this.#edgesFrom[node + 1] as number;
      for (let edge = this.#edgesFrom[node] as number; edge < end; edge += this.#edgeFields) {
        const to = this.#target(edge);
        if (to === 0 || this.#reachedBy[to] !== -1 || this.#typeOfEdge(edge) === 'weak') continue;
        if (this.#kinds[to] === 'text' && roots.has(this.#typeOf(node))) continue;
        const field = this.#nameOf(edge);
        if (fields.has(field) && apart.has(`${this.#kinds[node]?.replace(/^object /, '')}.${field}`))
          continue;
        this.#reachedBy[to] = edge;
        this.#reachedFrom[to] = node;
        queue.push(to);
      }
    }
  }

  #target(edge: number): number {
    return (this.#raw.edges[edge + 2] as number) / this.#nodeFields;
  }

  #typeOf(node: number): string {
    return this.#nodeTypes[this.#raw.nodes[node * this.#nodeFields] as number] as string;
  }

  #typeOfEdge(edge: number): string {
    return this.#edgeTypes[this.#raw.edges[edge] as number] as string;
  }

  #nameOf(edge: number): string {
    const name = this.#raw.edges[edge + 1] as number;
    const type = this.#typeOfEdge(edge);
    return type === 'element' || type === 'hidden' ? `[${name}]` : String(this.#raw.strings[name]);
  }

  #kindOf(node: number): string {
    const { nodes, strings } = this.#raw;
    const type = this.#typeOf(node);
    if (ENGINE.has(type)) return '';
    if (TEXT.has(type)) return 'text';
    const name = strings[nodes[node * this.#nodeFields + 1] as number] as string;
    return type === 'object' && name === 'Object' ? `Object {${this.#properties(node)}}` : `${type} ${name}`;
  }

  /** Those that hold an object or a text: the snapshot names no others. */
  #properties(node: number): string {
    const names: string[] = [];
    const end = this.#edgesFrom[node + 1] as number;
    for (let edge = this.#edgesFrom[node] as number; edge < end; edge += this.#edgeFields)
      if (names.length < NAMES && this.#typeOfEdge(edge) === 'property') names.push(this.#nameOf(edge));
    return names.filter((name) => name !== '__proto__').join(', ');
  }
}

/** Takes snapshots of a broker that was started with `INSPECTED`. */
export class HeapInspector {
  readonly #socket: WebSocket;
  #last = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  static async open(broker: RunningBroker): Promise<HeapInspector> {
    const told = () => broker.logs.flatMap((line) => /Debugger listening on (ws:\S+)/.exec(line)?.[1] ?? []);
    while (told().length === 0) await sleep(20);
    const socket = new WebSocket(told()[0] as string, { perMessageDeflate: false });
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    return new HeapInspector(socket);
  }

  /** All garbage is collected before. By a file: through the socket it takes several times as long. */
  async snapshot(apart: ReadonlySet<string> = new Set()): Promise<HeapSnapshot> {
    const directory = await mkdtemp(join(tmpdir(), 'carillon-heap-'));
    try {
      const file = join(directory, 'snapshot');
      await this.#evaluated(`process.getBuiltinModule('v8').writeHeapSnapshot(${JSON.stringify(file)})`);
      return new HeapSnapshot(await readFile(file, 'utf8'), apart);
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  close(): void {
    this.#socket.terminate();
  }

  #evaluated(expression: string): Promise<void> {
    const id = ++this.#last;
    return new Promise<void>((resolve, reject) => {
      const gone = () => reject(new Error('the broker is gone'));
      this.#socket.once('close', gone);
      this.#socket.on('message', function hear(this: WebSocket, data) {
        const { id: of, result, error } = JSON.parse(String(data));
        if (of !== id) return;
        this.off('message', hear).off('close', gone);
        const failed = error?.message ?? result.exceptionDetails?.text;
        if (failed === undefined) resolve();
        else reject(new Error(failed));
      });
      this.#socket.send(JSON.stringify({ id, method: 'Runtime.evaluate', params: { expression } }));
    });
  }
}
