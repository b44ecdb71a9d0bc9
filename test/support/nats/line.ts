import { connect, createServer, type Server, type Socket } from 'node:net';

/** A line to a server that can be made deaf and be cut, for one node alone. */
export class Line {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #deaf = false;
  #closed = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async to(url: string): Promise<Line> {
    const target = new URL(url);
    const server = createServer();
    const line = new Line(server);
    server.on('connection', (near) => line.#join(near, connect(Number(target.port), target.hostname)));
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    return line;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the line does not listen');
    return `nats://127.0.0.1:${address.port}`;
  }

  /** What the server says is swallowed from now on, for ever on the lines that are there now. */
  deafen(): void {
    this.#deaf = true;
  }

  /** Ends all lines; new ones hear again. */
  cut(): void {
    this.#deaf = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    this.#pairs.clear();
  }

  /** No new lines either. */
  away(): void {
    this.#closed = true;
    this.cut();
  }

  back(): void {
    this.#closed = false;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise<void>((done) => this.#server.close(() => done()));
  }

  #join(near: Socket, far: Socket): void {
    if (this.#closed) {
      near.destroy();
      far.destroy();
      return;
    }
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    near.setNoDelay(true);
    far.setNoDelay(true);
    near.on('data', (bytes) => far.write(bytes));
    far.on('data', (bytes) => {
      if (!this.#deaf) near.write(bytes);
    });
    const end = () => {
      near.destroy();
      far.destroy();
      this.#pairs.delete(pair);
    };
    for (const socket of pair) socket.on('close', end).on('error', end);
  }
}
