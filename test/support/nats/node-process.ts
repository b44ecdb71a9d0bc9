/** A node as a process of its own, to be stopped and killed: `node node-process.ts <url> <prefix> <name>`. */
import { startNode } from './nodes.ts';

const [url = '', prefix = '', node = ''] = process.argv.slice(2);
const { cluster } = await startNode([url], { options: { prefix }, node });
const downs: string[] = [];
cluster.watchNodes(({ node: other }, change) => change === 'down' && downs.push(other));
cluster.answer('downs', () => downs);
process.send?.('up');
setInterval(() => undefined, 1000);
