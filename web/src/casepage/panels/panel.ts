/** A part of the side panel: a heading that folds what is under it. */

import { h, type Child } from "../../app/dom";

export function panel(title: string, ...children: readonly Child[]): HTMLElement {
  return h("details", { class: "panel", open: true }, h("summary", {}, h("h2", {}, title)), h("div", { class: "panel-body" }, ...children));
}
