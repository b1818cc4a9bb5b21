/** Masks for tests, drawn with characters. */

import { encode, type Plane, type Rle } from "../src/core/rle";

export function drawing(...rows: readonly string[]): { plane: Plane; width: number; height: number; rle: Rle } {
  const width = rows[0]!.length;
  const plane = Uint8Array.from(rows.join(""), (sign) => (sign === "#" ? 1 : 0));
  return { plane, width, height: rows.length, rle: encode(plane, rows.length, width) };
}

/** The same numbers on every run (mulberry32). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function noise(height: number, width: number, next: () => number, density = 0.5): Plane {
  return Uint8Array.from({ length: height * width }, () => (next() < density ? 1 : 0));
}
