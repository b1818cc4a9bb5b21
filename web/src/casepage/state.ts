/** What a case page shows and what is being done on it, as signals that its parts read and set. */

import type { Annotation, CaseDetail, Model, Prediction, Prompts, Review } from "../api/types";
import { remembered, Signal } from "../app/signal";
import { History } from "../core/history";
import { FULL, type Levels, type Range } from "../core/levels";
import type { Volume } from "../core/nifti";
import type { Spot } from "../core/paint";
import type { Shape } from "../core/planes";
import type { View } from "../core/view";
import { fromAnnotation, fromPrediction, newLesion, sameMasks, type Doc, type Lesion } from "./document";
import type { Stroke } from "./strokes";

export type Variant = "original" | "musica";
export type Layout = "single" | "both" | "planes";
export type Tool = "positive" | "negative" | "box" | "scribble" | "brush" | "eraser" | "hand" | "levels";
export type LayerName = "lesions" | "prediction" | "probability" | "uncertainty" | "explanation";

export interface Picture {
  readonly volume: Volume;
  readonly range: Range;
}

export interface Layer {
  readonly on: Signal<boolean>;
  readonly opacity: Signal<number>;
}

export const LAYERS: readonly LayerName[] = ["lesions", "prediction", "probability", "uncertainty", "explanation"];
const OPACITY: Readonly<Record<LayerName, number>> = {
  lesions: 0.25, prediction: 0.9, probability: 0.5, uncertainty: 0.5, explanation: 0.6,
};

// Kept over cases and visits.
const tool = remembered<Tool>("tool", "positive");
const size = remembered<number>("brush", 8);
const engine = remembered<string>("engine", "");
const layout = remembered<Layout>("layout", "single");
const layers = Object.fromEntries(
  LAYERS.map((name): [LayerName, Layer] => [
    name,
    {
      on: remembered(`layer.${name}`, name === "lesions" || name === "prediction"),
      opacity: remembered(`opacity.${name}`, OPACITY[name]),
    },
  ]),
) as Record<LayerName, Layer>;

export class CaseState {
  readonly shape: Shape;
  readonly volume: boolean;
  readonly spacing: readonly number[] | null;

  readonly tool = tool;
  readonly size = size;
  readonly engine = engine;
  readonly layout = layout;
  readonly layers = layers;

  readonly doc: Signal<Doc>;
  readonly active = new Signal<string | null>(null);
  readonly hidden = new Signal<ReadonlySet<string>>(new Set());
  readonly peeking = new Signal(false); // all masks hidden for a look at the bare scan

  readonly prediction: Signal<Prediction | null>;
  readonly images: Readonly<Record<Variant, Signal<Picture | null>>> = { original: new Signal<Picture | null>(null), musica: new Signal<Picture | null>(null) };
  readonly maps: Readonly<Record<"probability" | "uncertainty", Signal<Volume | null>>> = {
    probability: new Signal<Volume | null>(null), uncertainty: new Signal<Volume | null>(null),
  };
  readonly explanation = new Signal<ImageBitmap | null>(null);

  readonly index: Signal<number>;
  readonly view = new Signal<View | null>(null); // null: the whole slice
  readonly levels = new Signal<Levels>(FULL);
  readonly pointer = new Signal<Spot | null>(null); // in pixels of the slice, shown in every pane
  readonly stroke = new Signal<Stroke | null>(null);
  readonly pending = new Signal<Prompts | null>(null); // sent, not yet answered
  readonly busy = new Signal<string | null>(null);

  readonly annotation: Signal<Annotation | null>;
  readonly decision: Signal<Review>;
  readonly note: Signal<string>;
  readonly dirty = new Signal(false);

  private history: History<Doc>;
  private saved: { doc: Doc; note: string };

  constructor(
    readonly scan: CaseDetail,
    readonly models: readonly Model[],
    annotation: Annotation | null,
  ) {
    const [height, width] = scan.shape.slice(-2) as [number, number];
    this.volume = scan.axes === "ZYX";
    this.shape = [this.volume ? scan.shape[0]! : 1, height, width];
    this.spacing = scan.spacing;
    this.prediction = new Signal(scan.prediction);
    const first = annotation ? fromAnnotation(annotation) : fromPrediction(scan.prediction, this.shape);
    this.history = new History(first);
    this.doc = new Signal(first);
    this.annotation = new Signal(annotation);
    this.decision = new Signal<Review>(annotation?.decision ?? "open");
    this.note = new Signal(annotation?.note ?? "");
    this.saved = { doc: first, note: this.note.value };
    this.index = new Signal(this.bestSlice());
    this.active.value = first.lesions[0]?.id ?? null;
    if (!this.volume && layout.value === "planes") layout.value = "single";
    this.note.follow(() => this.compare());
  }

  /** Width of a pixel divided by its height. */
  get aspect(): number {
    const [y, x] = this.spacing?.slice(-2) ?? [1, 1];
    return x! / y!;
  }

  get undoLabel(): string | null {
    return this.history.undoLabel;
  }

  get redoLabel(): string | null {
    return this.history.redoLabel;
  }

  /** The lesion that tools work on; null before there is one. */
  activeLesion(): Lesion | null {
    const { lesions } = this.doc.value;
    return lesions.find((lesion) => lesion.id === this.active.value) ?? lesions.at(-1) ?? null;
  }

  /** The same, or a new lesion that the next push adds. */
  lesionToDraw(): Lesion {
    return this.activeLesion() ?? newLesion(this.doc.value);
  }

  push(doc: Doc, label: string): void {
    this.history.push(doc, label);
    this.show();
  }

  undo(): boolean {
    const done = this.history.undo();
    this.show();
    return done;
  }

  redo(): boolean {
    const done = this.history.redo();
    this.show();
    return done;
  }

  /** Another beginning, with nothing to undo: a prediction on an untouched case, or what the server holds. */
  restart(doc: Doc, note: string = this.note.value): void {
    this.history = new History(doc);
    this.saved = { doc, note };
    this.note.value = note;
    this.show();
    this.active.value = doc.lesions[0]?.id ?? null;
  }

  stored(annotation: Annotation, doc: Doc, note: string): void {
    this.annotation.value = annotation;
    this.decision.value = annotation.decision;
    this.saved = { doc, note };
    this.compare();
  }

  /** Whether the masks are the prediction's own: only then can it be accepted as it is. */
  untouched(): boolean {
    return sameMasks(this.doc.value, fromPrediction(this.prediction.value, this.shape));
  }

  goTo(index: number): void {
    this.index.value = Math.min(this.shape[0] - 1, Math.max(0, Math.round(index)));
  }

  /** The slice that holds most of the masks, or the middle one. */
  bestSlice(): number {
    const areas = new Map<number, number>();
    for (const lesion of this.doc.value.lesions) {
      for (const [index, rle] of lesion.slices) {
        const area = rle.counts.reduce((sum, count, at) => (at % 2 ? sum + count : sum), 0);
        areas.set(index, (areas.get(index) ?? 0) + area);
      }
    }
    const [best] = [...areas].sort((a, b) => b[1] - a[1]);
    return best ? best[0] : Math.floor(this.shape[0] / 2);
  }

  private show(): void {
    this.doc.value = this.history.state;
    this.compare();
  }

  private compare(): void {
    this.dirty.value = this.doc.value !== this.saved.doc || this.note.value !== this.saved.note;
  }
}
