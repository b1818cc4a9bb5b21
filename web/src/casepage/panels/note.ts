/** What a person wants to say about the scan, and who says it. */

import { h } from "../../app/dom";
import { annotator } from "../saving";
import type { CaseState } from "../state";
import { panel } from "./panel";

export function notePanel(state: CaseState, until: AbortSignal): HTMLElement {
  const note = h("textarea", { id: "note", rows: 2, maxlength: 4000, oninput: () => (state.note.value = note.value) });
  const name = h("input", {
    id: "annotator", type: "text", maxlength: 100, autocomplete: "name", placeholder: "recorded with each mask",
    value: annotator.value, onchange: () => (annotator.value = name.value.trim()),
  });
  state.note.watch((text) => note.value !== text && (note.value = text), until);
  return panel(
    "Note",
    h("div", { class: "field" }, h("label", { for: "note" }, "Note on this scan"), note),
    h("div", { class: "field" }, h("label", { for: "annotator" }, "Your name"), name),
  );
}
