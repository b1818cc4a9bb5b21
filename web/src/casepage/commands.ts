/** What can be done on a case page, once: buttons, keys and the help sheet all read this list. */

import { say } from "../app/notices";
import { FULL } from "../core/levels";
import { fitted, zoomedAt } from "../core/view";
import type { Asking } from "./asking";
import { addLesion, clearSlice } from "./lesions";
import type { Review } from "./panels/review";
import { predict } from "./saving";
import type { CaseState, Layout, Tool } from "./state";

export interface Command {
  readonly group: "Tools" | "Edit" | "View" | "Review" | "Scans";
  readonly keys: readonly string[]; // as `KeyboardEvent.key`, lower case; "mod+" is Ctrl, or Cmd on a Mac
  readonly text: string;
  readonly act: () => void;
  readonly when?: boolean; // left out where false
}

export interface Parts {
  readonly state: CaseState;
  readonly asking: Asking;
  readonly review: Review;
  readonly goTo: { readonly previous: (() => void) | null; readonly next: (() => void) | null; readonly list: () => void };
}

export const TOOLS: readonly { readonly tool: Tool; readonly key: string; readonly text: string }[] = [
  { tool: "positive", key: "p", text: "Positive click: the lesion is here" },
  { tool: "negative", key: "n", text: "Negative click: not here" },
  { tool: "box", key: "b", text: "Box around the lesion" },
  { tool: "scribble", key: "s", text: "Scribble in the lesion" },
  { tool: "brush", key: "d", text: "Brush: draw by hand" },
  { tool: "eraser", key: "e", text: "Eraser" },
  { tool: "hand", key: "h", text: "Move the scan" },
  { tool: "levels", key: "w", text: "Window and level (hold W, or drag with the right button)" },
];

const SIZES = { least: 1, most: 100 };

export function resize(state: CaseState, by: 1 | -1): void {
  const step = Math.max(1, Math.round(state.size.value * 0.15));
  state.size.value = Math.min(SIZES.most, Math.max(SIZES.least, state.size.value + by * step));
}

export function undo({ state, asking }: Parts): void {
  if (state.stroke.value) return;
  if (state.pending.value) return asking.cancel();
  const label = state.undoLabel;
  say(state.undo() ? `Undone: ${label}` : "Nothing to undo");
}

export function redo({ state }: Parts): void {
  const label = state.redoLabel;
  say(state.redo() ? `Done again: ${label}` : "Nothing to do again");
}

export function commands(parts: Parts): Command[] {
  const { state, asking, review, goTo } = parts;
  const zoom = (factor: number) => (): void => {
    const [, rows, columns] = state.shape;
    const frame = { width: 1, height: 1, rows, columns, aspect: state.aspect };
    state.view.value = zoomedAt(state.view.value ?? fitted(frame), frame, { x: 0.5, y: 0.5 }, factor);
  };
  const show = (layout: Layout) => (): void => void (state.layout.value = state.layout.value === layout ? "single" : layout);
  const go = (by: number) => (): void => state.goTo(state.index.value + by);
  return [
    ...TOOLS.map(({ tool, key, text }): Command => ({
      group: "Tools", keys: [key], text, act: () => (state.tool.value = tool),
    })),
    { group: "Tools", keys: ["["], text: "Smaller brush", act: () => resize(state, -1) },
    { group: "Tools", keys: ["]"], text: "Larger brush", act: () => resize(state, 1) },
    ...[0, 1, 2].map((number): Command => ({
      group: "Tools", keys: [String(number + 1)], text: `Candidate ${number + 1}`, act: () => asking.choose(number),
    })),
    { group: "Edit", keys: ["mod+z", "z"], text: "Undo", act: () => undo(parts) },
    { group: "Edit", keys: ["mod+shift+z", "mod+y", "y"], text: "Redo", act: () => redo(parts) },
    { group: "Edit", keys: ["l"], text: "Add a lesion", act: () => addLesion(state) },
    { group: "Edit", keys: ["delete"], text: "Clear the active lesion on this slice", act: () => clearSlice(state) },
    { group: "Edit", keys: ["escape"], text: "Stop what is going on", act: () => (asking.cancel(), (state.stroke.value = null)) },
    { group: "View", keys: ["f", "0"], text: "Fit the scan", act: () => (state.view.value = null) },
    { group: "View", keys: ["+", "="], text: "Zoom in (or the wheel)", act: zoom(1.25) },
    { group: "View", keys: ["-"], text: "Zoom out", act: zoom(0.8) },
    { group: "View", keys: ["x"], text: "Window and level as at first", act: () => (state.levels.value = FULL) },
    { group: "View", keys: ["o"], text: "Original and enhanced side by side", act: show("both") },
    { group: "View", keys: ["t"], text: "Three planes", act: show("planes"), when: state.volume },
    { group: "View", keys: ["m"], text: "Hide or show all masks", act: () => (state.peeking.value = !state.peeking.value) },
    { group: "View", keys: ["arrowup", "pageup"], text: "Slice up (or Shift and wheel)", act: go(1), when: state.volume },
    { group: "View", keys: ["arrowdown", "pagedown"], text: "Slice down", act: go(-1), when: state.volume },
    { group: "Review", keys: ["g"], text: "Predict", act: () => void predict(state) },
    { group: "Review", keys: ["a"], text: "Accept the prediction as it is", act: review.accept },
    { group: "Review", keys: ["c"], text: "Save as corrected", act: review.correct },
    { group: "Review", keys: ["r"], text: "Reject the scan", act: review.reject },
    { group: "Review", keys: ["mod+s"], text: "Save", act: review.save },
    { group: "Scans", keys: ["k"], text: "Next scan of the list", act: () => goTo.next?.() },
    { group: "Scans", keys: ["j"], text: "Previous scan", act: () => goTo.previous?.() },
    { group: "Scans", keys: ["u"], text: "Back to the list", act: goTo.list },
  ];
}
