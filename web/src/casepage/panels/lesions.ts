/** The lesions of a scan: name, type, colour, hide, delete, and which one the tools work on. */

import { fill, h } from "../../app/dom";
import { icon } from "../../app/icons";
import { measured } from "../../app/wording";
import { measure } from "../../core/measure";
import { colourOf, colours, paintLesion } from "../colours";
import { withLesion, without, type Lesion } from "../document";
import { addLesion } from "../lesions";
import type { CaseState } from "../state";
import { panel } from "./panel";

const TYPES = ["glioma", "meningioma", "pituitary", "metastasis", "schwannoma", "other"];

const MADE_BY: Readonly<Record<Lesion["origin"]["source"], string>> = {
  human: "by hand", sam: "SAM", sam2: "SAM 2", click: "click", classical: "classical", model: "model", import: "imported",
};

export function lesionsPanel(state: CaseState, until: AbortSignal): HTMLElement {
  const list = h("ul", { class: "lesions" });
  const empty = h("p", { class: "muted" }, "None yet. Click into the lesion, draw a box around it, or paint it.");
  const show = (): void => {
    const { lesions } = state.doc.value;
    const focused = document.activeElement?.id; // a list drawn anew must not lose the place of who types
    fill(list, ...lesions.map((lesion, number) => row(state, lesion, number)));
    if (focused?.startsWith("lesion-")) document.getElementById(focused)?.focus();
    empty.hidden = lesions.length > 0;
  };
  for (const signal of [state.doc, state.active, state.hidden]) signal.follow(show, until);
  colours.follow(show, until);
  show();
  const types = h("datalist", { id: "tumour-types" }, ...TYPES.map((value) => h("option", { value })));
  return panel("Lesions", list, empty, types, h("button", { class: "wide", onclick: () => addLesion(state) }, icon("plus"), "Add lesion"));
}

function row(state: CaseState, lesion: Lesion, number: number): HTMLElement {
  const active = state.activeLesion()?.id === lesion.id;
  const hidden = state.hidden.value.has(lesion.id);
  const change = (part: Partial<Lesion>, label: string): void =>
    state.push(withLesion(state.doc.value, { ...lesion, ...part }), label);
  const colour = h("input", {
    type: "color", id: `lesion-colour-${lesion.id}`, value: colourOf(lesion.id, number), "aria-label": `Colour of ${lesion.name}`,
    onchange: () => paintLesion(lesion.id, colour.value),
  });
  const name = h("input", {
    type: "text", id: `lesion-name-${lesion.id}`, value: lesion.name, maxlength: 80, "aria-label": "Name of the lesion",
    onfocus: () => (state.active.value = lesion.id),
    onchange: () => change({ name: name.value.trim() || lesion.name }, "rename lesion"),
  });
  const type = h("input", {
    type: "text", id: `lesion-type-${lesion.id}`, value: lesion.tumorType ?? "", maxlength: 80, list: "tumour-types", placeholder: "type",
    "aria-label": `Tumour type of ${lesion.name}`,
    onchange: () => change({ tumorType: type.value.trim() || null }, "tumour type"),
  });
  return h(
    "li", { class: active ? "lesion active" : "lesion", "aria-current": active ? "true" : null, onclick: () => (state.active.value = lesion.id) },
    colour, name,
    h("button", {
      class: "plain square", id: `lesion-hide-${lesion.id}`, "aria-pressed": String(hidden),
      "aria-label": `Hide ${lesion.name}`, title: hidden ? "Show" : "Hide",
      onclick: () => hide(state, lesion.id, !hidden),
    }, icon(hidden ? "hidden" : "eye")),
    h("button", {
      class: "plain square", "aria-label": `Delete ${lesion.name}`, title: "Delete (can be undone)",
      onclick: (event: Event) => (event.stopPropagation(), state.push(without(state.doc.value, lesion.id), "delete lesion")),
    }, icon("bin")),
    h("div", { class: "lesion-more" }, type, h("span", { class: "muted" }, `${summary(state, lesion)} · ${MADE_BY[lesion.origin.source]}`)),
  );
}

function summary(state: CaseState, lesion: Lesion): string {
  const found = measure(lesion.slices, state.spacing, state.volume);
  if (found.volume_mm3 !== null) return measured(found.volume_mm3, "mm³");
  return found.area_mm2 === null ? measured(found.area_px, "px") : measured(found.area_mm2, "mm²");
}

function hide(state: CaseState, id: string, hidden: boolean): void {
  const next = new Set(state.hidden.value);
  if (hidden) next.add(id);
  else next.delete(id);
  state.hidden.value = next;
}
