/** The person's word on the scan, always in sight: accept, correct, reject; save and export. */

import { fill, h, option, set } from "../../app/dom";
import { icon } from "../../app/icons";
import { say } from "../../app/notices";
import { REVIEWS } from "../../app/wording";
import type { Saving } from "../saving";
import type { CaseState } from "../state";

export interface Review {
  readonly element: HTMLElement;
  accept(): void;
  correct(): void;
  reject(): void;
  save(): void;
}

export function reviewPanel(state: CaseState, saving: Saving, goNext: (() => void) | null, until: AbortSignal): Review {
  const done = (kept: boolean, text: string, move: boolean): void => {
    if (kept) say(text, "info", move && goNext ? { text: "Next scan", act: goNext } : undefined);
  };
  const accept = (): void => void saving.accept().then((kept) => done(kept, "Accepted and saved.", true));
  const correct = (): void => void saving.save("corrected").then((kept) => done(kept, "Saved as corrected.", true));
  const reject = (): void => void saving.save("rejected").then((kept) => done(kept, "Rejected and saved.", true));
  const save = (): void => void saving.save().then((kept) => done(kept, "Saved.", false));

  const status = h("div", { class: "saved", role: "status" });
  const buttons = {
    accepted: decision("Accept", "check", "Accept the prediction as it is (A)", accept),
    corrected: decision("Correct", "pen", "Save your masks as the correction (C)", correct),
    rejected: decision("Reject", "cross", "Reject: the scan is of no use (R)", reject),
  };
  const show = (): void => {
    const kept = state.annotation.value;
    fill(
      status,
      h("span", { class: `chip ${state.decision.value}` }, REVIEWS[state.decision.value]),
      state.dirty.value ? h("b", { class: "unsaved" }, "Not saved yet") : kept ? `Saved, revision ${kept.revision}` : "Nothing to save yet",
    );
    for (const [name, button] of Object.entries(buttons)) set(button, "aria-pressed", String(name === state.decision.value));
    buttons.accepted.classList.toggle("off", !state.prediction.value || !state.untouched());
  };
  for (const signal of [state.dirty, state.decision, state.annotation, state.doc, state.prediction]) signal.follow(show, until);
  show();

  const element = h(
    "section", { class: "review", "aria-label": "Review" },
    status,
    h("div", { class: "decisions" }, ...Object.values(buttons)),
    h(
      "div", { class: "keep" },
      h("button", { class: "primary", title: "Save (Ctrl S)", onclick: save }, icon("save"), "Save"),
      ...exporter(state, saving),
    ),
  );
  return { element, accept, correct, reject, save };
}

function decision(text: string, sign: "check" | "pen" | "cross", title: string, act: () => void): HTMLButtonElement {
  return h("button", { class: `decision ${sign}`, title, onclick: act }, icon(sign), text);
}

function exporter(state: CaseState, saving: Saving): HTMLElement[] {
  const formats: [string, string][] = [
    ...(state.volume ? [] : [["png", "PNG mask"] as [string, string]]),
    ["nifti", "NIfTI mask"], ["coco", "COCO (RLE)"], ["npz", "NumPy arrays"], ["json", "Record (JSON)"],
  ];
  const select = h("select", { "aria-label": "Format of the download" }, ...formats.map(([value, text]) => option(value, text)));
  return [
    select,
    h("button", { class: "square", title: "Download the mask; saves first", "aria-label": "Download the mask", onclick: () => void saving.download(select.value) }, icon("download")),
  ];
}
