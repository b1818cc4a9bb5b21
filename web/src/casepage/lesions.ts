/** Lesions on a slice: where they lie, a new one, one less. */

import { bounds } from "../core/contour";
import type { Spot } from "../core/paint";
import { pixels } from "../core/planes";
import { added, newLesion, painted, withLesion, type Lesion } from "./document";
import type { CaseState } from "./state";

const NEAR = 0.25; // of the lesion's longer side around its box: a click there corrects it, beyond it means another
const LEAST_NEAR = 5; // pixels

export function addLesion(state: CaseState): void {
  const lesion = newLesion(state.doc.value);
  state.push(added(state.doc.value, lesion), "add lesion");
  state.active.value = lesion.id;
}

/** Takes the active lesion away from the slice that is shown. */
export function clearSlice(state: CaseState): void {
  const lesion = state.activeLesion();
  if (!lesion) return;
  const [, height, width] = state.shape;
  const after = painted(lesion, state.index.value, new Uint8Array(height * width), "clear", state.shape);
  if (after !== lesion) state.push(withLesion(state.doc.value, after), "clear slice");
}

export function covers(lesion: Lesion, index: number, spot: Spot): boolean {
  const rle = lesion.slices.get(index);
  return rle !== undefined && pixels(rle)[Math.round(spot.y) * rle.size[1] + Math.round(spot.x)] === 1;
}

/** Whether a place lies well outside what the lesion covers on the slice; never for one that covers nothing there. */
export function isAway(lesion: Lesion, index: number, spot: Spot): boolean {
  const rle = lesion.slices.get(index);
  const box = rle && bounds(pixels(rle), rle.size[1]);
  if (!box) return false;
  const near = Math.max(LEAST_NEAR, NEAR * Math.max(box.right - box.left + 1, box.bottom - box.top + 1));
  return spot.x < box.left - near || spot.x > box.right + near || spot.y < box.top - near || spot.y > box.bottom + near;
}
