/** Tools at the left, and above the scan what belongs to the view. */

import { fill, h, set } from "../app/dom";
import { icon, type IconName } from "../app/icons";
import { FULL } from "../core/levels";
import { redo, resize, TOOLS, undo, type Parts } from "./commands";
import type { CaseState, Layout, Tool } from "./state";

const ICONS: Readonly<Record<Tool, IconName>> = {
  positive: "positive", negative: "negative", box: "box", scribble: "scribble",
  brush: "brush", eraser: "eraser", hand: "hand", levels: "levels",
};
const SHORT: Readonly<Record<Tool, string>> = {
  positive: "Click +", negative: "Click −", box: "Box", scribble: "Scribble",
  brush: "Brush", eraser: "Eraser", hand: "Move", levels: "Levels",
};

export function toolbar(state: CaseState, until: AbortSignal): HTMLElement {
  const buttons = TOOLS.map(({ tool, key, text }) => {
    const button = h(
      "button", { class: `tool ${tool}`, title: `${text} (${key.toUpperCase()})`, "aria-label": text, onclick: () => (state.tool.value = tool) },
      icon(ICONS[tool]), h("span", { "aria-hidden": "true" }, SHORT[tool]),
    );
    state.tool.watch((chosen) => set(button, "aria-pressed", String(chosen === tool)), until);
    return button;
  });
  return h("div", { class: "toolbar", role: "toolbar", "aria-label": "Tools", "aria-orientation": "vertical" }, ...buttons);
}

export function viewBar(parts: Parts, until: AbortSignal): HTMLElement {
  const { state } = parts;
  return h(
    "div", { class: "viewbar", role: "toolbar", "aria-label": "View" },
    ...steps(parts, until),
    brushSize(state, until),
    h("span", { class: "spring" }),
    plainButton("Fit", "Fit the scan (F)", "fit", () => (state.view.value = null), "square"),
    plainButton("Levels", "Window and level as at first (X)", "levels", () => (state.levels.value = FULL), "square"),
    eye(state, until),
    layouts(state, until),
  );
}

function steps(parts: Parts, until: AbortSignal): HTMLElement[] {
  const { state } = parts;
  const back = plainButton("Undo", "Undo (Ctrl Z)", "undo", () => undo(parts), "square");
  const again = plainButton("Redo", "Redo (Ctrl Y)", "redo", () => redo(parts), "square");
  const show = (): void => {
    back.disabled = state.undoLabel === null && state.pending.value === null;
    again.disabled = state.redoLabel === null;
    set(back, "title", state.undoLabel ? `Undo ${state.undoLabel} (Ctrl Z)` : "Undo (Ctrl Z)");
    set(again, "title", state.redoLabel ? `Redo ${state.redoLabel} (Ctrl Y)` : "Redo (Ctrl Y)");
  };
  state.doc.follow(show, until);
  state.pending.watch(show, until);
  return [back, again];
}

function brushSize(state: CaseState, until: AbortSignal): HTMLElement {
  const range = h("input", {
    type: "range", id: "brush-size", min: 1, max: 100, oninput: () => (state.size.value = Number(range.value)),
  });
  const shown = h("output", { for: "brush-size" });
  const element = h(
    "div", { class: "brush-size" },
    h("label", { for: "brush-size" }, "Size"),
    h("button", { class: "plain square", "aria-label": "Smaller brush", title: "Smaller ([)", onclick: () => resize(state, -1) }, "−"),
    range,
    h("button", { class: "plain square", "aria-label": "Larger brush", title: "Larger (])", onclick: () => resize(state, 1) }, "+"),
    shown,
  );
  state.size.watch((size) => ((range.value = String(size)), fill(shown, `${size} px`)), until);
  state.tool.watch((tool) => (element.hidden = tool !== "brush" && tool !== "eraser"), until);
  return element;
}

/** Through a volume, along the foot of the scan. */
export function slices(state: CaseState, until: AbortSignal): HTMLElement {
  const last = state.shape[0] - 1;
  const range = h("input", {
    type: "range", id: "slice", min: 0, max: last, oninput: () => state.goTo(Number(range.value)),
  });
  const shown = h("output", { for: "slice" });
  state.index.watch((index) => ((range.value = String(index)), fill(shown, `${index + 1} / ${last + 1}`)), until);
  return h("div", { class: "slices" }, h("label", { for: "slice" }, "Slice"), range, shown);
}

function eye(state: CaseState, until: AbortSignal): HTMLElement {
  const button = plainButton("Masks", "Hide or show all masks (M)", "eye", () => (state.peeking.value = !state.peeking.value), "square");
  state.peeking.watch((peeking) => {
    set(button, "aria-pressed", String(!peeking));
    button.firstElementChild?.replaceWith(icon(peeking ? "hidden" : "eye"));
  }, until);
  return button;
}

function layouts(state: CaseState, until: AbortSignal): HTMLElement {
  const choices: [Layout, string, string, IconName][] = [
    ["single", "One", "The scan alone", "single"],
    ["both", "Two", "Original and enhanced side by side (O)", "split"],
    ...(state.volume ? [["planes", "Planes", "Three planes (T)", "planes"] as [Layout, string, string, IconName]] : []),
  ];
  return h("div", { class: "segments", role: "group", "aria-label": "Layout" }, ...choices.map(([layout, text, title, sign]) => {
    const button = plainButton(text, title, sign, () => (state.layout.value = layout));
    state.layout.watch((chosen) => set(button, "aria-pressed", String(chosen === layout)), until);
    return button;
  }));
}

function plainButton(text: string, title: string, sign: IconName, act: () => void, extra = ""): HTMLButtonElement {
  const square = extra === "square";
  return h("button", { class: `plain ${extra}`, title, "aria-label": title.replace(/ \(.*\)$/, ""), onclick: act },
    icon(sign), square ? null : h("span", { "aria-hidden": "true" }, text));
}
