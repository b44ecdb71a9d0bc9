import { utf8Bytes } from '../../protocol/utf8.ts';

/** The items in as few lists as fit into `bytes` of JSON each; one that is longer is alone. At least one list. */
export function pack<T>(items: readonly T[], bytes: number): T[][] {
  let list: T[] = [];
  const lists = [list];
  let used = 0;
  for (const item of items) {
    const size = utf8Bytes(JSON.stringify(item)) + 1;
    if (used + size > bytes && list.length > 0) {
      list = [];
      lists.push(list);
      used = 0;
    }
    list.push(item);
    used += size;
  }
  return lists;
}
