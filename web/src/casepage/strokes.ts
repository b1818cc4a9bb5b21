/** What the pointer draws between press and release, and what becomes of it. */

import { stroke, type Spot } from "../core/paint";
import type { Plane } from "../core/rle";
import type { Asking } from "./asking";
import { painted, plane, withLesion, type Lesion } from "./document";
import type { CaseState } from "./state";

export type Stroke =
  | { readonly kind: "brush" | "eraser"; readonly plane: Plane; readonly lesion: string; readonly base: Lesion; readonly index: number; readonly last: Spot }
  | { readonly kind: "box"; readonly from: Spot; readonly to: Spot }
  | { readonly kind: "scribble"; readonly path: readonly Spot[]; readonly positive: boolean };

const LEAST_BOX = 2; // pixels; a smaller one is a slip of the hand
const LEAST_STEP = 0.7; // pixels between two vertices of a scribble

export class Strokes {
  private pressed: Spot | null = null;
  private opposite = false;

  constructor(
    private readonly state: CaseState,
    private readonly asking: Asking,
  ) {}

  /** `opposite` turns a positive click into a negative one and the brush into the eraser, and back. */
  begin(spot: Spot, opposite: boolean): void {
    const { tool } = this.state;
    this.pressed = spot;
    this.opposite = opposite;
    if (tool.value === "brush" || tool.value === "eraser") {
      const kind = (tool.value === "brush") !== opposite ? "brush" : "eraser";
      if (kind === "eraser" && !this.state.activeLesion()) return;
      const lesion = this.state.lesionToDraw();
      const index = this.state.index.value;
      const copy = plane(lesion, index, this.state.shape).slice();
      this.paint({ kind, plane: copy, lesion: lesion.id, base: lesion, index, last: spot }, spot);
    } else if (tool.value === "box") {
      this.state.stroke.value = { kind: "box", from: spot, to: spot };
    } else if (tool.value === "scribble") {
      this.state.stroke.value = { kind: "scribble", path: [this.within(spot)], positive: !opposite };
    }
  }

  move(spot: Spot): void {
    const going = this.state.stroke.value;
    if (!going) return;
    if (going.kind === "box") {
      this.state.stroke.value = { ...going, to: spot };
    } else if (going.kind === "scribble") {
      const [last, next] = [going.path.at(-1)!, this.within(spot)];
      if (Math.hypot(next.x - last.x, next.y - last.y) < LEAST_STEP) return;
      this.state.stroke.value = { ...going, path: [...going.path, next] };
    } else {
      this.paint(going, spot);
    }
  }

  end(): void {
    const going = this.state.stroke.value;
    const spot = this.pressed;
    this.cancel();
    if (!spot) return;
    const { tool } = this.state;
    if (!going) {
      if (tool.value === "positive" || tool.value === "negative") {
        this.asking.click(this.within(spot), (tool.value === "positive") !== this.opposite);
      }
    } else if (going.kind === "box") {
      this.box(this.within(going.from), this.within(going.to));
    } else if (going.kind === "scribble") {
      this.asking.scribble(going.path, going.positive);
    } else {
      this.draw(going);
    }
  }

  cancel(): void {
    this.pressed = null;
    this.state.stroke.value = null;
  }

  private paint(going: Extract<Stroke, { plane: Plane }>, spot: Spot): void {
    const value = going.kind === "brush" ? 1 : 0;
    stroke(going.plane, this.state.shape[2], going.last, spot, this.state.size.value, value);
    this.state.stroke.value = { ...going, last: spot };
  }

  private draw(going: Extract<Stroke, { plane: Plane }>): void {
    const { state } = this;
    const lesion = state.doc.value.lesions.find((one) => one.id === going.lesion) ?? going.base;
    const kind = going.kind === "brush" ? "brush" : "erase";
    const after = painted(lesion, going.index, going.plane, kind, state.shape);
    if (after === lesion) return;
    state.push(withLesion(state.doc.value, after), kind === "brush" ? "brush" : "eraser");
    state.active.value = after.id;
  }

  private box(from: Spot, to: Spot): void {
    const box = {
      top: Math.min(from.y, to.y), left: Math.min(from.x, to.x),
      bottom: Math.max(from.y, to.y), right: Math.max(from.x, to.x),
    };
    if (box.bottom - box.top >= LEAST_BOX && box.right - box.left >= LEAST_BOX) this.asking.box(box);
  }

  /** The nearest place on the slice: a drag may end outside it. */
  private within(spot: Spot): Spot {
    const [, height, width] = this.state.shape;
    return {
      x: Math.min(width - 1, Math.max(0, Math.round(spot.x * 10) / 10)),
      y: Math.min(height - 1, Math.max(0, Math.round(spot.y * 10) / 10)),
    };
  }
}
