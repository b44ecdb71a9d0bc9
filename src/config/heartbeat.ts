/**
 * When uWebSockets.js pings for a given idleTimeout (8 to 960 s): the timeout less a margin of 4, 8 or 16 s, rounded
 * up to its clock of 4 s. Measured: 8→4, 12→8, 16→8, 28→20, 30→24, 32→16, 36→20, 40→24, 60→44.
 */
export function pingSeconds(idleSeconds: number): number {
  let margin = 4;
  while (idleSeconds - 2 * margin >= 2 * margin && margin < 16) margin *= 2;
  return Math.ceil((idleSeconds - margin) / 4) * 4;
}
