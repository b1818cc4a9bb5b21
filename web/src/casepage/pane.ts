/** One slice on a canvas of its own: what is drawn here is, pixel for pixel, what is saved. */

import { h, set } from "../app/dom";
import { edgeLetters, type Volume } from "../core/nifti";
import { isVolume } from "../core/rle";
import { fitted, scale, toScreen, type Frame, type View } from "../core/view";
import { colourOf, colours } from "./colours";
import { Gestures } from "./gestures";
import { Marks, PREDICTED } from "./marks";
import { drawingOn, Greys, MapPicture, maskPath, outline } from "./raster";
import { LAYERS, type CaseState, type Variant } from "./state";
import type { Strokes } from "./strokes";

const NAMES: Readonly<Record<Variant, string>> = { original: "Original", musica: "Enhanced (MUSICA)" };
const SMOOTH_BELOW = 1.5; // screen pixels a pixel: beyond, each pixel is shown as the square it is

export class Pane {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas", { tabindex: 0, role: "img", class: "slice" });
  private readonly corner = h("div", { class: "corner bottom" });
  private readonly greys = new Greys();
  private readonly maps = { probability: new MapPicture("probability"), uncertainty: new MapPicture("uncertainty") };
  private frame: Frame;
  private readonly behind = document.createElement("canvas");
  private drawn: readonly unknown[] = [];
  private asked = 0;

  constructor(
    private readonly state: CaseState,
    private readonly variant: Variant,
    strokes: Strokes,
    until: AbortSignal,
  ) {
    const [, rows, columns] = state.shape;
    this.frame = { width: 1, height: 1, columns, rows, aspect: state.aspect };
    this.element = h(
      "div", { class: "pane" },
      this.canvas, h("div", { class: "corner top" }, NAMES[variant]), this.corner,
    );
    new Gestures(this.canvas, state, strokes, () => this.frame, until);
    this.watch(until);
    if (state.volume) state.images[variant].watch((picture) => picture && this.letter(picture.volume), until);
  }

  /** Which side is which; a picture file does not know. */
  private letter(volume: Volume): void {
    for (const [side, text] of Object.entries(edgeLetters(volume) ?? {})) {
      this.element.append(h("div", { class: `letter ${side}`, "aria-hidden": "true" }, text));
    }
  }

  focus(): void {
    this.canvas.focus();
  }

  private watch(until: AbortSignal): void {
    const { state } = this;
    const again = (): void => this.invalidate();
    const signals = [
      state.doc, state.index, state.view, state.levels, state.pointer, state.stroke, state.pending, state.active,
      state.hidden, state.peeking, state.prediction, state.images[this.variant], state.maps.probability,
      state.maps.uncertainty, state.explanation, state.tool, state.size, colours,
      ...LAYERS.flatMap((name) => [state.layers[name].on, state.layers[name].opacity]),
    ];
    for (const signal of signals) signal.follow(again, until);
    const size = new ResizeObserver(([entry]) => {
      const { width, height } = entry!.contentRect;
      if (width < 1 || height < 1) return;
      this.frame = { ...this.frame, width, height };
      this.canvas.width = Math.round(width * devicePixelRatio);
      this.canvas.height = Math.round(height * devicePixelRatio);
      this.draw();
    });
    size.observe(this.canvas);
    until.addEventListener("abort", () => size.disconnect());
    this.invalidate();
  }

  private invalidate(): void {
    this.asked ||= requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    this.asked = 0;
    const { state, frame } = this;
    const context = drawingOn(this.canvas);
    const view = state.view.value ?? fitted(frame);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.background(view), 0, 0);
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    const marks = new Marks(context, view, frame);
    if (!state.peeking.value) this.drawMasks(context, marks);
    this.drawPrompts(marks);
    this.describe(view);
  }

  /** Scan and maps as this pane shows them; drawn anew only when one of them moves, since strokes come by the dozen. */
  private background(view: View): HTMLCanvasElement {
    const { state, frame, behind } = this;
    const picture = state.images[this.variant].value;
    const { zoom, x, y } = view;
    const shown = LAYERS.flatMap((name) => [state.layers[name].on.value, state.layers[name].opacity.value]);
    const key = [
      picture, state.index.value, state.levels.value, zoom, x, y, frame, state.maps.probability.value,
      state.maps.uncertainty.value, state.explanation.value, ...shown,
    ];
    if (key.every((part, at) => part === this.drawn[at])) return behind;
    this.drawn = key;
    [behind.width, behind.height] = [this.canvas.width, this.canvas.height];
    const context = drawingOn(behind);
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, frame.width, frame.height);
    if (picture) {
      this.place(context, view, this.greys.of(picture, state.index.value, state.levels.value), 1);
      this.drawMaps(context, view);
    }
    return behind;
  }

  /** A raster in slice resolution, put where the slice lies. */
  private place(context: CanvasRenderingContext2D, view: View, raster: CanvasImageSource, opacity: number): void {
    const { frame } = this;
    const size = scale(view, frame);
    const corner = toScreen({ x: -0.5, y: -0.5 }, view, frame);
    context.imageSmoothingEnabled = size * devicePixelRatio < SMOOTH_BELOW;
    context.imageSmoothingQuality = "medium";
    context.globalAlpha = opacity;
    context.drawImage(raster, corner.x, corner.y, frame.columns * frame.aspect * size, frame.rows * size);
    context.globalAlpha = 1;
  }

  private drawMaps(context: CanvasRenderingContext2D, view: View): void {
    const { state } = this;
    const index = state.index.value;
    for (const name of ["probability", "uncertainty"] as const) {
      const [layer, volume] = [state.layers[name], state.maps[name].value];
      if (layer.on.value && volume) this.place(context, view, this.maps[name].of(volume, index), layer.opacity.value);
    }
    const explained = state.explanation.value;
    if (state.layers.explanation.on.value && explained && !state.volume) {
      this.place(context, view, explained, state.layers.explanation.opacity.value);
    }
  }

  private drawMasks(context: CanvasRenderingContext2D, marks: Marks): void {
    const { state } = this;
    const index = state.index.value;
    const stroke = state.stroke.value;
    const painting = stroke && "plane" in stroke ? stroke : null;
    const { lesions } = state.doc.value;
    const tint = state.layers.lesions.opacity.value;
    if (state.layers.lesions.on.value) {
      lesions.forEach((lesion, number) => {
        const rle = lesion.slices.get(index);
        if (!rle || state.hidden.value.has(lesion.id) || lesion.id === painting?.lesion) return;
        const width = lesion.id === state.activeLesion()?.id ? 2.25 : 1.5;
        marks.mask(maskPath(rle), colourOf(lesion.id, number), tint, width);
      });
    }
    if (painting) {
      const known = lesions.findIndex((lesion) => lesion.id === painting.lesion);
      const colour = colourOf(painting.lesion, known === -1 ? lesions.length : known);
      marks.mask(outline(painting.plane, this.frame.columns), colour, Math.max(0.35, tint), 2.25);
    }
    const predicted = state.prediction.value?.mask;
    const shown = predicted && (isVolume(predicted) ? predicted.slices[index] : predicted);
    if (shown && state.layers.prediction.on.value) {
      context.globalAlpha = state.layers.prediction.opacity.value;
      marks.outline(maskPath(shown), PREDICTED, 1.75, [5, 5]);
      context.globalAlpha = 1;
    }
  }

  private drawPrompts(marks: Marks): void {
    const { state } = this;
    const index = state.index.value;
    const waiting = state.pending.value;
    const prompts = waiting ?? state.activeLesion()?.prompts.get(index);
    if (prompts && !state.peeking.value) marks.prompts(prompts, waiting !== null);
    const stroke = state.stroke.value;
    if (stroke) marks.going(stroke);
    const pointer = state.pointer.value;
    if (!pointer) return;
    const drawing = state.tool.value === "brush" || state.tool.value === "eraser";
    marks.pointer(pointer, drawing ? state.size.value : null, this.canvas.matches(":hover"));
  }

  private describe(view: View): void {
    const { state } = this;
    const picture = state.images[this.variant].value;
    const [, rows, columns] = state.shape;
    const percent = Math.round(scale(view, this.frame) * 100);
    const parts = [`${percent} %`];
    if (state.volume) parts.unshift(`slice ${state.index.value + 1} of ${state.shape[0]}`);
    const spot = state.pointer.value;
    const [x, y] = [Math.round(spot?.x ?? -1), Math.round(spot?.y ?? -1)];
    if (picture && x >= 0 && y >= 0 && x < columns && y < rows) {
      const value = picture.volume.data[(state.index.value * rows + y) * columns + x]!;
      parts.push(`row ${y}, column ${x}: ${Number(value.toPrecision(4))}`);
    }
    const text = picture ? parts.join("  ·  ") : "loading …";
    if (this.corner.textContent !== text) this.corner.textContent = text;
    const lesions = state.doc.value.lesions.length;
    set(this.canvas, "aria-label",
      `${NAMES[this.variant]} of ${state.scan.name}, ${state.volume ? `slice ${state.index.value + 1} of ${state.shape[0]}, ` : ""}` +
      `${lesions} ${lesions === 1 ? "lesion" : "lesions"} drawn`);
  }
}
