/** Brush strokes on the pixel grid. Coordinates are pixels, (0, 0) the centre of the first one. */

import type { Plane } from "./rle";

export interface Spot {
  readonly x: number;
  readonly y: number;
}

export interface Dirty {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/**
 * Sets each pixel whose centre lies within half of `size` of the segment, and the pixels under both ends, so that
 * size 1 draws single pixels. Returns the rectangle that may have changed, or null outside the slice.
 */
export function stroke(plane: Plane, width: number, from: Spot, to: Spot, size: number, value: 0 | 1): Dirty | null {
  const height = plane.length / width;
  const radius = size / 2;
  const left = Math.max(0, Math.floor(Math.min(from.x, to.x) - radius));
  const right = Math.min(width - 1, Math.ceil(Math.max(from.x, to.x) + radius));
  const top = Math.max(0, Math.floor(Math.min(from.y, to.y) - radius));
  const bottom = Math.min(height - 1, Math.ceil(Math.max(from.y, to.y) + radius));
  if (left > right || top > bottom) return null;
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      if (distance({ x, y }, from, to) <= radius) plane[y * width + x] = value;
    }
  }
  for (const end of [from, to]) {
    const [x, y] = [Math.round(end.x), Math.round(end.y)];
    if (x >= 0 && x < width && y >= 0 && y < height) plane[y * width + x] = value;
  }
  return { left, top, right, bottom };
}

/** Distance of a point from a segment. */
export function distance(point: Spot, from: Spot, to: Spot): number {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const square = dx * dx + dy * dy;
  const along = square === 0 ? 0 : ((point.x - from.x) * dx + (point.y - from.y) * dy) / square;
  const t = Math.min(1, Math.max(0, along));
  return Math.hypot(point.x - from.x - t * dx, point.y - from.y - t * dy);
}

export function changed(before: Plane, after: Plane): number {
  let count = 0;
  for (let i = 0; i < before.length; i++) if (before[i] !== after[i]) count++;
  return count;
}
