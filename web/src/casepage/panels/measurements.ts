/** Live numbers of the masks, as the server computes them. */

import { fill, h } from "../../app/dom";
import { measured } from "../../app/wording";
import { measure, type Measurements } from "../../core/measure";
import { union } from "../../core/planes";
import type { CaseState } from "../state";
import { panel } from "./panel";

export function measurementsPanel(state: CaseState, until: AbortSignal): HTMLElement {
  const table = h("table", { class: "numbers" });
  const show = (): void => {
    const lesions = state.doc.value.lesions;
    const active = state.activeLesion();
    const all = measure(union(lesions.map((lesion) => lesion.slices)), state.spacing, state.volume);
    const one = active ? measure(active.slices, state.spacing, state.volume) : null;
    fill(table, ...rows(state, one, active?.name ?? "–", all));
  };
  state.doc.follow(show, until);
  state.active.follow(show, until);
  show();
  const hint = state.spacing ? null : h("p", { class: "muted" }, "The file does not tell how large a pixel is.");
  return panel("Measurements", table, hint);
}

function rows(state: CaseState, one: Measurements | null, name: string, all: Measurements): HTMLElement[] {
  const mm = state.spacing !== null;
  const line = (title: string, value: (of: Measurements) => string): HTMLElement =>
    h("tr", {}, h("th", { scope: "row" }, title), h("td", {}, one ? value(one) : "–"), h("td", {}, value(all)));
  return [
    h("tr", {}, h("td", {}), h("th", { scope: "col", class: "cut" }, name), h("th", { scope: "col" }, "all")),
    line("Regions", (of) => String(of.lesions)),
    line(state.volume ? "Largest area" : "Area", (of) => (mm ? measured(of.area_mm2, "mm²") : measured(of.area_px, "px"))),
    line("Longest diameter", (of) => (mm ? measured(of.diameter_mm, "mm") : measured(of.diameter_px, "px"))),
    ...(state.volume && mm ? [line("Volume", (of) => measured(of.volume_mm3, "mm³"))] : []),
  ];
}
