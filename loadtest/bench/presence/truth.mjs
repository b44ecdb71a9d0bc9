/** What watchers were told, held against what was done. */
import { percentiles } from '../../support/stats.mjs';

/** Newcomers come and go beside the members. */
const isMember = ([user]) => user.startsWith('m');

function byUser(entries) {
  const found = new Map();
  for (const [user, how, at] of entries) {
    const known = found.get(user);
    if (known === undefined) found.set(user, [[how, at]]);
    else known.push([how, at]);
  }
  return found;
}

/** Milliseconds from each change to its being told, by one watcher; and what it was told wrong or not at all. */
function compareOne(log, told) {
  const latencies = [];
  let wrong = 0;
  const heard = byUser(told.filter(isMember));
  for (const [user, done] of byUser(log)) {
    const known = heard.get(user) ?? [];
    heard.delete(user);
    if (known.length !== done.length) wrong++;
    for (const [at, [how, since]] of done.entries()) {
      if (known[at]?.[0] !== how) wrong++;
      else latencies.push((known[at][1] - since) / 1000);
    }
  }
  return { latencies, wrong: wrong + heard.size };
}

/** `log`: what was done, in order for each user. Without `exact` only the count is told. */
export function compareChurn(log, told, expected, exact) {
  const each = exact ? told.map((one) => compareOne(log, one.told)) : [];
  const counts = told.map(({ count }) => count);
  return {
    latency: percentiles(each.flatMap(({ latencies }) => latencies)),
    wrong:
      each.reduce((sum, { wrong }) => sum + wrong, 0) + counts.filter((count) => count !== expected).length,
    counts,
  };
}

/** After the death: when each reader knew all who have gone, and by how many frames. */
export function compareDeath({ gone, killedAt, told, expected, watchers, exact }) {
  const left = expected - gone.length - watchers;
  return told.map(({ told: changes, frames, bytes, count, lastAt }) => {
    const leaves = changes.filter(isMember).filter(([, how]) => how === 'left');
    const users = new Set(leaves.map(([user]) => user));
    const others = changes.filter(isMember).length - leaves.length;
    const missing = exact ? gone.filter((user) => !users.has(user)).length : 0;
    const twice = leaves.length - users.size;
    const false_ = exact ? users.size - (gone.length - missing) : 0;
    const lastOf = leaves.at(-1)?.[2] ?? lastAt;
    return {
      ms: ((exact ? lastOf : lastAt) - killedAt) / 1000,
      firstMs: ((leaves[0]?.[2] ?? lastAt) - killedAt) / 1000,
      frames,
      bytes,
      count,
      wrong: missing + twice + false_ + others + (count === left ? 0 : 1),
    };
  });
}
