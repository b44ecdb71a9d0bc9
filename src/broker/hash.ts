/** FNV-1a, 32 bits, over the UTF-16 code units: the same on every node, and cheap. */
export function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) {
    hash ^= text.charCodeAt(at);
    hash = Math.imul(hash, 0x01000193);
  }
  return hash >>> 0;
}

/** The last step of MurmurHash3: without it, names that differ in one character would share their keys badly. */
function mixed(hash: number): number {
  let bits = hash ^ (hash >>> 16);
  bits = Math.imul(bits, 0x85ebca6b);
  bits ^= bits >>> 13;
  bits = Math.imul(bits, 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** The one of them that is responsible for a key: nodes that know the same nodes agree; a change moves few keys. */
export function responsible(nodes: readonly string[], key: string): string | undefined {
  let best: string | undefined;
  let most = -1;
  for (const node of nodes) {
    const weight = mixed(fnv1a32(`${node}\0${key}`));
    if (weight < most || (weight === most && node < (best ?? ''))) continue;
    best = node;
    most = weight;
  }
  return best;
}
