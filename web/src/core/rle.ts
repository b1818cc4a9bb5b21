/** Masks as COCO run lengths: column by column, the first run is background. The server stores the same form. */

export interface Rle {
  readonly size: readonly [height: number, width: number];
  readonly counts: readonly number[];
}

export interface VolumeRle {
  readonly size: readonly [depth: number, height: number, width: number];
  readonly slices: Readonly<Record<string, Rle>>;
}

/** Row-major pixels of one slice, 0 or 1. */
export type Plane = Uint8Array;

const MOST_PIXELS = 64_000_000; // as on the server

export function encode(plane: Plane, height: number, width: number): Rle {
  if (plane.length !== height * width) throw new Error(`mask: ${plane.length} pixels are not ${height}x${width}`);
  const counts: number[] = [];
  let value = 0;
  let run = 0;
  for (let x = 0; x < width; x++) {
    for (let at = x; at < plane.length; at += width) {
      if (plane[at] === value) {
        run++;
      } else {
        counts.push(run);
        value ^= 1;
        run = 1;
      }
    }
  }
  if (run > 0) counts.push(run);
  return { size: [height, width], counts };
}

export function decode(rle: Rle): Plane {
  const [height, width] = rle.size;
  const total = height * width;
  if (!(Number.isInteger(total) && total >= 0 && total <= MOST_PIXELS)) throw new Error(`mask: ${rle.size} is no size`);
  const plane = new Uint8Array(total);
  let at = 0; // counted column by column
  rle.counts.forEach((count, index) => {
    if (!Number.isInteger(count) || count < 0 || at + count > total) throw new Error("mask: run lengths do not add up");
    if (index % 2 === 1) {
      let x = Math.floor(at / height);
      let y = at - x * height;
      for (let left = count; left > 0; left--) {
        plane[y * width + x] = 1;
        if (++y === height) {
          y = 0;
          x++;
        }
      }
    }
    at += count;
  });
  if (at !== total) throw new Error("mask: run lengths do not add up");
  return plane;
}

/** Number of pixels in the mask, without decoding it. */
export function area(rle: Rle): number {
  return rle.counts.reduce((sum, count, index) => (index % 2 === 1 ? sum + count : sum), 0);
}

export function isVolume(mask: Rle | VolumeRle): mask is VolumeRle {
  return "slices" in mask;
}

export function sameRle(a: Rle | undefined, b: Rle | undefined): boolean {
  if (a === b) return true;
  if (!a || !b) return (a ? area(a) : 0) === (b ? area(b) : 0); // a slice without pixels is a missing slice
  return a.counts.length === b.counts.length && a.counts.every((count, index) => count === b.counts[index]);
}
