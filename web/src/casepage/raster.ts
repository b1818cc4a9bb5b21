/** What is drawn of a slice, kept until it changes: greys, outlines of masks, colour maps. */

import { loops } from "../core/contour";
import { shaded, type Levels } from "../core/levels";
import type { Volume } from "../core/nifti";
import { pixels } from "../core/planes";
import type { Plane, Rle } from "../core/rle";
import type { Picture } from "./state";

export type Raster = HTMLCanvasElement;

/**
 * A canvas that the processor draws. Outlines of masks are long paths, which a real graphics card draws no faster, and
 * a software one (remote desktops, virtual machines) a hundred times slower.
 */
export function drawingOn(element: HTMLCanvasElement): CanvasRenderingContext2D {
  return element.getContext("2d", { willReadFrequently: true })!;
}

function canvas(width: number, height: number): [Raster, CanvasRenderingContext2D, ImageData, Uint32Array] {
  const element = document.createElement("canvas");
  [element.width, element.height] = [width, height];
  const context = drawingOn(element);
  const data = context.createImageData(width, height);
  return [element, context, data, new Uint32Array(data.data.buffer)];
}

/** The greys of one pane; drawn anew only when slice, window or picture change. */
export class Greys {
  private key: readonly unknown[] = [];
  private raster: ReturnType<typeof canvas> | null = null;

  of(picture: Picture, index: number, levels: Levels): Raster {
    const [, height, width] = picture.volume.shape;
    this.raster ??= canvas(width, height);
    const [element, context, data, words] = this.raster;
    const key = [picture, index, levels];
    if (key.some((part, at) => part !== this.key[at])) {
      this.key = key;
      shaded(picture.volume, index, picture.range, levels, words);
      context.putImageData(data, 0, 0);
    }
    return element;
  }
}

const paths = new WeakMap<Rle, Path2D>();

/** The outline of a stored mask, in pixels of the slice: drawn as a line and filled, it is sharp at every zoom. */
export function maskPath(rle: Rle): Path2D {
  let path = paths.get(rle);
  if (!path) {
    path = outline(pixels(rle), rle.size[1]);
    paths.set(rle, path);
  }
  return path;
}

export function outline(plane: Plane, width: number): Path2D {
  const path = new Path2D();
  for (const loop of loops(plane, width)) {
    loop.forEach(([x, y], corner) => (corner ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
}

type Rgb = readonly [number, number, number];
/** Dark to bright in even steps of lightness, so that the map reads the same in grey print. */
const MAPS: Readonly<Record<"probability" | "uncertainty", readonly Rgb[]>> = {
  probability: [[30, 10, 60], [120, 28, 109], [208, 69, 60], [248, 149, 20], [252, 244, 150]],
  uncertainty: [[10, 25, 60], [20, 80, 130], [24, 140, 150], [90, 200, 130], [235, 245, 160]],
};

/** A map of values from 0 to `top`; the lower, the more transparent. */
export class MapPicture {
  private key: readonly unknown[] = [];
  private raster: ReturnType<typeof canvas> | null = null;

  constructor(private readonly kind: "probability" | "uncertainty") {}

  of(volume: Volume, index: number): Raster {
    const [, height, width] = volume.shape;
    this.raster ??= canvas(width, height);
    const [element, context, data, words] = this.raster;
    if (this.key[0] !== volume || this.key[1] !== index) {
      this.key = [volume, index];
      const top = this.kind === "probability" ? 1 : Math.max(1e-6, most(volume.data));
      const start = index * words.length;
      for (let i = 0; i < words.length; i++) words[i] = this.word(volume.data[start + i]! / top);
      context.putImageData(data, 0, 0);
    }
    return element;
  }

  private word(value: number): number {
    if (!(value > 0.01)) return 0;
    const map = MAPS[this.kind];
    const at = Math.min(0.9999, value) * (map.length - 1);
    const [low, high, part] = [map[Math.floor(at)]!, map[Math.floor(at) + 1]!, at % 1];
    const [r, g, b] = low.map((one, channel) => Math.round(one + (high[channel]! - one) * part)) as [number, number, number];
    const alpha = Math.round(255 * Math.min(1, value * 2.5));
    return ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
  }
}

function most(values: Float32Array): number {
  let top = 0;
  for (const value of values) if (value > top) top = value;
  return top;
}
