/** Numbers of a mask, equal to the server's `measure`: area, longest diameter between pixel-edge middles, volume. */

import { area as areaOf, type Rle } from "./rle";
import { pixels, total, type Slices } from "./planes";
import { countRegions, rowEnds } from "./regions";

type PointXY = readonly [x: number, y: number];

export interface Measurements {
  readonly lesions: number;
  readonly area_px: number;
  readonly area_mm2: number | null;
  readonly diameter_px: number;
  readonly diameter_mm: number | null;
  readonly volume_mm3: number | null;
}

/** Convex hull by Andrew's monotone chain. */
export function hull(points: readonly PointXY[]): PointXY[] {
  const sorted = [...points]
    .sort((a, b) => a[0] - b[0] || a[1] - b[1])
    .filter(([x, y], at, all) => x !== all[at - 1]?.[0] || y !== all[at - 1]?.[1]);
  if (sorted.length < 3) return sorted;
  const half = (list: PointXY[]): PointXY[] => {
    const chain: PointXY[] = [];
    for (const point of list) {
      while (chain.length >= 2 && turn(chain.at(-2)!, chain.at(-1)!, point) <= 0) chain.pop();
      chain.push(point);
    }
    chain.pop();
    return chain;
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

function turn(a: PointXY, b: PointXY, c: PointXY): number {
  return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
}

/** Middles of the four edges of each pixel. */
const EDGES: readonly PointXY[] = [[-0.5, 0], [0.5, 0], [0, -0.5], [0, 0.5]];

/** Largest distance between two edge middles of a hull of pixel centres, in units of `scale` (x, y). */
function feret(corners: readonly PointXY[], [sx, sy]: PointXY): number {
  const points = hull(corners.flatMap(([x, y]) => EDGES.map(([dx, dy]): PointXY => [(x + dx) * sx, (y + dy) * sy])));
  let longest = 0;
  for (let i = 0; i < points.length; i++) {
    for (let j = i + 1; j < points.length; j++) {
      longest = Math.max(longest, Math.hypot(points[i]![0] - points[j]![0], points[i]![1] - points[j]![1]));
    }
  }
  return longest;
}

const hulls = new WeakMap<Rle, PointXY[][]>(); // a slice that did not change is not looked at again

function hullsOf(rle: Rle): PointXY[][] {
  let found = hulls.get(rle);
  if (!found) {
    found = rowEnds(pixels(rle), rle.size[1]).map(hull);
    hulls.set(rle, found);
  }
  return found;
}

/** `spacing` in millimetres in array-axis order (y, x or z, y, x); null leaves millimetres unknown. */
export function measure(slices: Slices, spacing: readonly number[] | null, volume: boolean): Measurements {
  const [sy, sx] = spacing ? (spacing.slice(-2) as [number, number]) : [1, 1];
  let area = 0;
  let pixelsLong = 0;
  let millimetres = 0;
  let width = 0;
  for (const rle of slices.values()) {
    width = rle.size[1];
    area = Math.max(area, areaOf(rle));
    for (const corners of hullsOf(rle)) {
      pixelsLong = Math.max(pixelsLong, feret(corners, [1, 1]));
      if (spacing) millimetres = Math.max(millimetres, feret(corners, [sx, sy]));
    }
  }
  return {
    lesions: countRegions(slices, width),
    area_px: area,
    area_mm2: spacing ? area * sy * sx : null,
    diameter_px: pixelsLong,
    diameter_mm: spacing ? millimetres : null,
    volume_mm3: spacing && volume ? total(slices) * spacing.reduce((product, one) => product * one, 1) : null,
  };
}
