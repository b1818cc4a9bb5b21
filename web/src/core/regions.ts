/** Connected regions: 8 neighbours within a slice, 26 between the slices of a volume, as the server counts lesions. */

import { encode, type Plane } from "./rle";
import { pixels, type Shape, type Slices } from "./planes";

/** Pixels `from` to `to` (both included) of one row. */
interface Run {
  readonly index: number;
  readonly y: number;
  readonly from: number;
  readonly to: number;
}

/** Runs of the mask, grouped into regions; the region that begins first in reading order comes first. */
function regionsOf(slices: Slices, width: number): Run[][] {
  const runs: Run[] = [];
  const parent: number[] = [];
  const find = (one: number): number => {
    let root = one;
    while (parent[root] !== root) root = parent[root]!;
    while (parent[one] !== root) {
      const next = parent[one]!;
      parent[one] = root;
      one = next;
    }
    return root;
  };
  let below: number[][] = []; // rows of the slice before: numbers of their runs
  let belowIndex = Number.NaN;
  for (const [index, rle] of [...slices].sort(([a], [b]) => a - b)) {
    const plane = pixels(rle);
    const height = plane.length / width;
    const rows: number[][] = Array.from({ length: height }, () => []);
    for (let y = 0; y < height; y++) {
      for (const [from, to] of runsOfRow(plane, y, width)) {
        const own = runs.push({ index, y, from, to }) - 1;
        parent.push(own);
        rows[y]!.push(own);
        const near = y > 0 ? [...rows[y - 1]!] : [];
        if (belowIndex === index - 1) for (const row of [y - 1, y, y + 1]) near.push(...(below[row] ?? []));
        for (const other of near) {
          const run = runs[other]!;
          if (run.from <= to + 1 && run.to >= from - 1) {
            const [a, b] = [find(own), find(other)];
            parent[Math.max(a, b)] = Math.min(a, b);
          }
        }
      }
    }
    below = rows;
    belowIndex = index;
  }
  const groups = new Map<number, Run[]>();
  runs.forEach((run, number) => {
    const root = find(number);
    const group = groups.get(root);
    if (group) group.push(run);
    else groups.set(root, [run]);
  });
  return [...groups.values()];
}

function* runsOfRow(plane: Plane, y: number, width: number): Generator<[from: number, to: number]> {
  const end = (y + 1) * width;
  let at = y * width;
  while (at < end) {
    while (at < end && plane[at] === 0) at++;
    if (at === end) return;
    const from = at;
    while (at < end && plane[at] === 1) at++;
    yield [from - y * width, at - 1 - y * width];
  }
}

export function countRegions(slices: Slices, width: number): number {
  return regionsOf(slices, width).length;
}

/** Ends of the rows of each region of one slice, as points [x, y]: all that a convex hull needs. */
export function rowEnds(plane: Plane, width: number): [number, number][][] {
  const slices = new Map([[0, encode(plane, plane.length / width, width)]]);
  return regionsOf(slices, width).map((runs) =>
    runs.flatMap((run): [number, number][] => [[run.from, run.y], [run.to, run.y]]),
  );
}

/** One mask for each region, the largest first. */
export function splitRegions(slices: Slices, shape: Shape): Slices[] {
  const [, height, width] = shape;
  const size = (runs: Run[]): number => runs.reduce((sum, run) => sum + run.to - run.from + 1, 0);
  return regionsOf(slices, width)
    .sort((a, b) => size(b) - size(a))
    .map((runs) => {
      const planes = new Map<number, Plane>();
      for (const run of runs) {
        const plane = planes.get(run.index) ?? new Uint8Array(height * width);
        plane.fill(1, run.y * width + run.from, run.y * width + run.to + 1);
        planes.set(run.index, plane);
      }
      return new Map([...planes].map(([index, plane]) => [index, encode(plane, height, width)]));
    });
}
