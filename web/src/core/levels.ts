/** Window and level: which intensities the greys of the screen stand for. */

import type { Volume } from "./nifti";

/** Fractions of an image's own range, so that original and enhanced share one window. */
export interface Levels {
  readonly centre: number;
  readonly width: number;
}

export interface Range {
  readonly low: number;
  readonly high: number;
}

export const FULL: Levels = { centre: 0.5, width: 1 };
const LEAST_WIDTH = 0.01;
const TOP = 0.999; // share of pixels that are not clipped: one bright vessel must not darken the rest
const SAMPLES = 200_000; // that the share is estimated from

/** From the darkest pixel to the intensity that 99.9 % do not pass. */
export function rangeOf(volume: Volume): Range {
  const step = Math.max(1, Math.floor(volume.data.length / SAMPLES));
  const values: number[] = [];
  for (let i = 0; i < volume.data.length; i += step) if (Number.isFinite(volume.data[i])) values.push(volume.data[i]!);
  const sorted = Float32Array.from(values).sort();
  const low = sorted[0] ?? 0;
  const high = sorted[Math.floor((sorted.length - 1) * TOP)] ?? 1;
  return { low, high: high > low ? high : low + 1 };
}

export function dragged(levels: Levels, dx: number, dy: number): Levels {
  return {
    centre: Math.min(1.5, Math.max(-0.5, levels.centre + dy)),
    width: Math.min(4, Math.max(LEAST_WIDTH, levels.width + dx)),
  };
}

/** RGBA pixels of one slice in greys. */
export function shaded(volume: Volume, index: number, range: Range, levels: Levels, out: Uint32Array): void {
  const [, height, width] = volume.shape;
  const start = index * height * width;
  const span = range.high - range.low;
  const low = range.low + (levels.centre - levels.width / 2) * span;
  const gain = 255 / (levels.width * span);
  for (let i = 0; i < out.length; i++) {
    const value = (volume.data[start + i]! - low) * gain;
    const grey = value > 0 ? (value < 255 ? (value + 0.5) | 0 : 255) : 0; // NaN is black
    out[i] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
}
