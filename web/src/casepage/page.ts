/** The case page: put together from its parts. */

import { api, ApiError, bytes, url } from "../api/client";
import { ask } from "../app/dialog";
import { fill, h } from "../app/dom";
import { icon } from "../app/icons";
import { complain } from "../app/notices";
import { address, go, guardWith } from "../app/router";
import { size } from "../app/wording";
import { rangeOf } from "../core/levels";
import { readNifti } from "../core/nifti";
import { neighbours, predictionRequested } from "../worklist/handover";
import { Asking } from "./asking";
import { commands, type Command, type Parts } from "./commands";
import { showHelp } from "./help";
import { listen } from "./keyboard";
import { Pane } from "./pane";
import { candidatesPanel } from "./panels/candidates";
import { layersPanel } from "./panels/layers";
import { lesionsPanel } from "./panels/lesions";
import { measurementsPanel } from "./panels/measurements";
import { predictionPanel } from "./panels/prediction";
import { notePanel } from "./panels/note";
import { reviewPanel } from "./panels/review";
import { Planes } from "./planes";
import { predict, Saving } from "./saving";
import { CaseState, type Variant } from "./state";
import { Strokes } from "./strokes";
import { slices, toolbar, viewBar } from "./toolbar";

export interface CasePage {
  readonly element: HTMLElement;
  readonly help: () => void;
  readonly title: string;
}

export async function casePage(id: string, until: AbortSignal): Promise<CasePage> {
  const [scan, models] = await Promise.all([api.case(id), api.models()]);
  const annotation = scan.annotation_id ? await api.annotation(scan.annotation_id) : null;
  const state = new CaseState(scan, models, annotation);
  const asking = new Asking(state);
  const saving = new Saving(state, asking);
  const strokes = new Strokes(state, asking);
  until.addEventListener("abort", () => asking.cancel());

  const near = neighbours(id);
  const to = (other: string | null) => (other ? () => go(address.case(other)) : null);
  const goTo = { previous: to(near.previous), next: to(near.next), list: () => go(address.list) };
  const review = reviewPanel(state, saving, goTo.next, until);
  const parts: Parts = { state, asking, review, goTo };
  const list = commands(parts);
  const help = (): void => showHelp(list);

  const seen = watchPictures(state, until);
  guardUnsaved(state, saving, until);
  listen(list, help, until);
  if (predictionRequested(id)) void seen.then(() => predict(state));
  return { element: layout(parts, strokes, list, until), help, title: scan.name };
}

function layout(parts: Parts, strokes: Strokes, list: readonly Command[], until: AbortSignal): HTMLElement {
  const { state, asking, review } = parts;
  const original = new Pane(state, "original", strokes, until);
  const enhanced = new Pane(state, "musica", strokes, until);
  const planes = state.volume ? new Planes(state, until) : null;
  const panes = h("div", { class: "panes" }, original.element, enhanced.element, planes?.element);
  const busy = h("div", { class: "busy", role: "status", "aria-live": "polite" });
  state.busy.watch((text) => (fill(busy, text && h("span", { class: "spinner", "aria-hidden": "true" }), text && `${text} …`), (busy.hidden = !text)), until);
  state.layout.watch((chosen) => {
    panes.dataset.layout = chosen;
    enhanced.element.hidden = chosen !== "both";
    if (planes) planes.element.hidden = chosen !== "planes";
  }, until);
  state.tool.watch((tool) => (panes.dataset.tool = tool), until);
  return h(
    "main", { class: "case" },
    heading(parts, list),
    toolbar(state, until),
    h("div", { class: "stage" }, viewBar(parts, until), gateBanner(state, until), panes, state.volume && slices(state, until), busy),
    h(
      "aside", { class: "side", "aria-label": "Case" },
      h(
        "div", { class: "side-scroll" },
        h(
          "div", { class: "side-columns" },
          predictionPanel(state, until), candidatesPanel(state, asking, until), lesionsPanel(state, until),
          measurementsPanel(state, until), layersPanel(state, until), notePanel(state, until),
        ),
      ),
      review.element,
    ),
  );
}

function heading({ state, goTo }: Parts, list: readonly Command[]): HTMLElement {
  const { scan } = state;
  const facts = [`${size(scan.shape)} px`, scan.modality, scan.spacing ? `${[...scan.spacing].reverse().map((mm) => Number(mm.toFixed(2))).join(" × ")} mm` : "pixel size unknown"];
  const step = (text: string, sign: "back" | "next", act: (() => void) | null, key: string): HTMLElement =>
    h("button", { class: "plain square", disabled: !act, title: `${text} (${key})`, "aria-label": text, onclick: () => act?.() }, icon(sign));
  return h(
    "header", { class: "case-head" },
    h("button", { class: "plain", title: "Back to the list (U)", onclick: goTo.list }, icon("back"), "Scans"),
    h("h1", { class: "cut" }, scan.name),
    h("span", { class: "muted cut" }, facts.filter(Boolean).join("  ·  ")),
    h("span", { class: "spring" }),
    step("Previous scan", "back", goTo.previous, "J"),
    step("Next scan", "next", goTo.next, "K"),
    h("button", { class: "plain square danger-text", title: "Delete this scan", "aria-label": "Delete this scan", onclick: () => void remove(state, goTo.list) }, icon("bin")),
    h("button", { class: "plain square", title: "Keys (?)", "aria-label": "Keys", onclick: () => showHelp(list) }, icon("help")),
  );
}

async function remove(state: CaseState, leave: () => void): Promise<void> {
  const sure = await ask("Delete this scan?", `${state.scan.name} goes from the workspace with its predictions and annotations. Your own file stays where it is.`, [
    { text: "Delete", value: true, kind: "danger" }, { text: "Keep", value: false },
  ]);
  if (!sure) return;
  try {
    await api.deleteCase(state.scan.id);
    state.restart(state.doc.value); // nothing left to save
    leave();
  } catch (error) {
    complain(error);
  }
}

/** What the model refuses to read is said above the scan, where nobody overlooks it. */
function gateBanner(state: CaseState, until: AbortSignal): HTMLElement {
  const banner = h("p", { class: "warning banner", role: "alert", hidden: true });
  state.prediction.watch((prediction) => {
    const refused = prediction?.gate?.passed === false;
    banner.hidden = !refused;
    fill(banner, refused && `The model refuses this scan: it ${prediction.gate?.reason || "does not look like a brain MRI"}.`);
  }, until);
  return banner;
}

/** The original at once, the enhanced picture when it is first looked at. Resolves when the original is there. */
function watchPictures(state: CaseState, until: AbortSignal): Promise<void> {
  const load = async (variant: Variant): Promise<void> => {
    try {
      const volume = await readNifti(await bytes(url.image(state.scan.id, variant), until));
      state.images[variant].value = { volume, range: rangeOf(volume) };
    } catch (error) {
      complain(error);
    }
  };
  let asked = false;
  const original = load("original");
  state.layout.watch((layout) => {
    if (layout !== "both" || asked) return;
    asked = true;
    void load("musica");
  }, until);
  return original;
}

function guardUnsaved(state: CaseState, saving: Saving, until: AbortSignal): void {
  window.addEventListener("beforeunload", (event) => state.dirty.value && event.preventDefault(), { signal: until });
  guardWith(async () => {
    if (!state.dirty.value) return true;
    const choice = await ask("Leave without saving?", "What you drew on this scan is not saved yet.", [
      { text: "Save and leave", value: "save", kind: "primary" },
      { text: "Leave", value: "leave", kind: "danger" },
      { text: "Stay", value: "stay" },
    ] as const);
    return choice === "leave" || (choice === "save" && (await saving.save()));
  });
}

export function explained(error: unknown): string {
  if (error instanceof ApiError && error.status === 404) return "This scan is not in the workspace any more.";
  return error instanceof Error ? error.message : String(error);
}
