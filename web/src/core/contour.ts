/** Outline of a mask along the edges of its pixels. */

import type { Plane } from "./rle";

/** Corners of a closed line, each where it turns. */
export type Loop = readonly (readonly [x: number, y: number])[];

/** Right, down, left, up, with the pixels to the right and to the left of the way ahead of a corner. */
const WAYS = [
  { dx: 1, dy: 0, right: [0, 0], left: [0, -1] },
  { dx: 0, dy: 1, right: [-1, 0], left: [0, 0] },
  { dx: -1, dy: 0, right: [-1, -1], left: [-1, 0] },
  { dx: 0, dy: -1, right: [0, -1], left: [-1, -1] },
] as const;

/**
 * Closed lines between mask and background in pixel coordinates: the first pixel reaches from -0.5 to 0.5. Walking
 * them, the mask lies at the right hand; pixels that touch at a corner only are walked around one by one.
 */
export function loops(plane: Plane, width: number): Loop[] {
  const box = bounds(plane, width);
  if (!box) return [];
  const height = plane.length / width;
  const at = (x: number, y: number): boolean => x >= 0 && y >= 0 && x < width && y < height && plane[y * width + x] === 1;
  const seen = new Set<number>(); // pixels whose upper edge was walked along
  const found: Loop[] = [];
  for (let y = box.top; y <= box.bottom; y++) {
    for (let x = box.left; x <= box.right; x++) {
      if (at(x, y) && !at(x, y - 1) && !seen.has(y * width + x)) found.push(walk(x, y, at, (pixel) => seen.add(pixel), width));
    }
  }
  return found;
}

/** Once around, from the upper left corner of a pixel. */
function walk(startX: number, startY: number, at: (x: number, y: number) => boolean, see: (pixel: number) => void, width: number): Loop {
  const corners: [number, number][] = [];
  let [x, y, way] = [startX, startY, 0];
  do {
    if (way === 0) see(y * width + x);
    x += WAYS[way]!.dx;
    y += WAYS[way]!.dy;
    const { right, left } = WAYS[way]!;
    const turn = !at(x + right[0], y + right[1]) ? 1 : at(x + left[0], y + left[1]) ? 3 : 0;
    if (turn) corners.push([x - 0.5, y - 0.5]);
    way = (way + turn) % 4;
  } while (x !== startX || y !== startY || way !== 0);
  return corners;
}

/** Smallest rectangle of pixels that holds the mask; null for an empty one. */
export function bounds(plane: Plane, width: number): { left: number; top: number; right: number; bottom: number } | null {
  let [left, top, right, bottom] = [width, -1, -1, -1];
  for (let first = plane.indexOf(1); first !== -1; first = plane.indexOf(1, (bottom + 1) * width)) {
    bottom = Math.floor(first / width);
    if (top === -1) top = bottom;
    const row = plane.subarray(bottom * width, (bottom + 1) * width);
    left = Math.min(left, first - bottom * width);
    right = Math.max(right, row.lastIndexOf(1));
  }
  return bottom === -1 ? null : { left, top, right, bottom };
}
