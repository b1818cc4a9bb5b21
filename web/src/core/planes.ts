/** A mask as its slices that hold something. Values are shared between the states of the history and never changed. */

import { area, decode, encode, isVolume, type Plane, type Rle, type VolumeRle } from "./rle";

export type Slices = ReadonlyMap<number, Rle>;
export type Shape = readonly [depth: number, height: number, width: number];

const KEPT = 24; // decoded slices; 24 of 1920x1427 pixels are 66 MB
const decoded = new Map<Rle, Plane>();

/** Pixels of a slice, decoded at most once while it is in use. Do not write to them. */
export function pixels(rle: Rle): Plane {
  let plane = decoded.get(rle);
  if (plane) decoded.delete(rle);
  else plane = decode(rle);
  decoded.set(rle, plane); // now the newest
  if (decoded.size > KEPT) decoded.delete(decoded.keys().next().value as Rle);
  return plane;
}

export function fromRle(mask: Rle | VolumeRle): Slices {
  const slices = isVolume(mask)
    ? Object.entries(mask.slices).map(([index, rle]) => [Number(index), rle] as const)
    : [[0, mask] as const];
  return new Map(slices.filter(([, rle]) => area(rle) > 0));
}

/** The form that the server stores: one mask for a 2-D scan, the slices that hold something for a volume. */
export function toRle(slices: Slices, shape: Shape, volume: boolean): Rle | VolumeRle {
  const [, height, width] = shape;
  if (!volume) return slices.get(0) ?? { size: [height, width], counts: [height * width] };
  const kept = [...slices].sort(([a], [b]) => a - b).map(([index, rle]) => [String(index), rle] as const);
  return { size: shape, slices: Object.fromEntries(kept) };
}

export function withSlice(slices: Slices, index: number, rle: Rle | null): Slices {
  const next = new Map(slices);
  if (rle && area(rle) > 0) next.set(index, rle);
  else next.delete(index);
  return next;
}

export function total(slices: Slices): number {
  let sum = 0;
  for (const rle of slices.values()) sum += area(rle);
  return sum;
}

/** All pixels of several masks. */
export function union(masks: readonly Slices[]): Slices {
  if (masks.length === 1) return masks[0] as Slices;
  const result = new Map<number, Rle>();
  for (const index of new Set(masks.flatMap((mask) => [...mask.keys()]))) {
    const parts = masks.flatMap((mask) => mask.get(index) ?? []);
    if (parts.length === 1) {
      result.set(index, parts[0] as Rle);
      continue;
    }
    const sum = pixels(parts[0] as Rle).slice();
    for (const part of parts.slice(1)) {
      const plane = pixels(part);
      for (let i = 0; i < sum.length; i++) sum[i]! |= plane[i]!;
    }
    result.set(index, encode(sum, ...(parts[0] as Rle).size));
  }
  return result;
}
