/** What the model says, how sure it is, and whether it should have been asked at all. */

import type { Prediction } from "../../api/types";
import { fill, h, type Child } from "../../app/dom";
import { icon } from "../../app/icons";
import { measured, OUTCOMES, percent } from "../../app/wording";
import { added, EMPTY, fromPrediction } from "../document";
import { predict } from "../saving";
import type { CaseState } from "../state";
import { panel } from "./panel";

export function predictionPanel(state: CaseState, until: AbortSignal): HTMLElement {
  const body = h("div", { class: "prediction" });
  const run = h("button", { class: "wide", onclick: () => void predict(state) });
  const use = h("button", { class: "wide", onclick: () => useMasks(state) }, "Start over from the prediction");
  const show = (): void => {
    const prediction = state.prediction.value;
    fill(body, ...(prediction ? described(prediction) : [h("p", { class: "muted" }, "No model has seen this scan yet.")]));
    fill(run, icon("play"), prediction ? "Predict again" : "Predict");
    run.classList.toggle("primary", !prediction);
    use.hidden = !prediction?.mask || state.untouched();
  };
  state.prediction.watch(show, until);
  state.doc.follow(show, until);
  state.busy.watch((busy) => (run.disabled = busy !== null), until);
  return panel("Prediction", body, run, use);
}

function useMasks(state: CaseState): void {
  const fresh = fromPrediction(state.prediction.value, state.shape);
  state.push(fresh.lesions.reduce(added, EMPTY), "start over from the prediction");
  state.active.value = fresh.lesions[0]?.id ?? null;
}

function described(prediction: Prediction): Child[] {
  const { gate, decision, probability, uncertainty, measurements } = prediction;
  const refused = gate?.passed === false;
  return [
    h(
      "div", { class: "verdict" },
      h("span", { class: `chip large ${decision ?? "open"}` }, decision ? OUTCOMES[decision] : "No decision"),
      h("span", { class: "strong" }, percent(probability)),
    ),
    probability !== null && bar(probability, decision ?? "open"),
    h(
      "dl", { class: "facts" },
      ...fact("Uncertainty", uncertainty === null ? null : percent(uncertainty)),
      ...fact("Lesions", measurements.lesions ?? null),
      ...fact("Area", sized(measurements.area_mm2, "mm²", measurements.area_px, "px")),
      ...fact("Longest diameter", sized(measurements.diameter_mm, "mm", measurements.diameter_px, "px")),
      ...fact("Volume", measurements.volume_mm3 ? measured(measurements.volume_mm3, "mm³") : null),
      ...fact("Brain MRI check", refused ? "failed" : gate?.passed ? "passed" : null),
      ...fact("Model", `${prediction.model} ${prediction.model_version}`),
    ),
    ...prediction.notes.map((note) => h("p", { class: "muted note-line" }, note)),
  ];
}

function bar(probability: number, decision: string): HTMLElement {
  const filled = h("div", { class: `filled ${decision}` });
  filled.style.width = `${100 * probability}%`;
  return h("div", {
    class: "likelihood", role: "meter", "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": probability,
    "aria-valuetext": percent(probability), "aria-label": "Probability of a tumour",
  }, filled);
}

function sized(mm: number | null | undefined, unit: string, px: number | null | undefined, pixel: string): string | null {
  if (mm !== null && mm !== undefined) return measured(mm, unit);
  return px ? measured(px, pixel) : null;
}

function fact(name: string, value: string | number | null): Child[] {
  return value === null ? [] : [h("dt", {}, name), h("dd", {}, value)];
}
