/** What is laid over the scan, and how strongly. */

import { bytes, url } from "../../api/client";
import { fill, h } from "../../app/dom";
import { Signal } from "../../app/signal";
import { readNifti } from "../../core/nifti";
import { LAYERS, type CaseState, type LayerName } from "../state";
import { panel } from "./panel";

const NAMES: Readonly<Record<LayerName, string>> = {
  lesions: "Your lesions", prediction: "Predicted outline", probability: "Probability map",
  uncertainty: "Uncertainty map", explanation: "Grad-CAM",
};

export function layersPanel(state: CaseState, until: AbortSignal): HTMLElement {
  return panel("Layers", ...LAYERS.map((name) => row(state, name, until)));
}

const NEEDS_RUN = "Needs torch and a model of a training run: tumorscope serve --runs DIR.";

function row(state: CaseState, name: LayerName, until: AbortSignal): HTMLElement {
  const layer = state.layers[name];
  const why = new Signal<string | null>(null);
  const id = `layer-${name}`;
  const toggle = h("input", { type: "checkbox", id, onchange: () => (layer.on.value = toggle.checked) });
  const opacity = h("input", {
    type: "range", min: 0, max: 1, step: 0.05, "aria-label": `Opacity of ${NAMES[name]}`,
    oninput: () => (layer.opacity.value = Number(opacity.value)),
  });
  const reason = h("p", { class: "muted reason" });
  const element = h("div", { class: `layer ${name}` }, toggle, h("label", { for: id }, NAMES[name]), opacity, reason);
  const show = (): void => {
    const absent = name === "lesions" ? null : (why.value ?? missing(state, name));
    toggle.checked = layer.on.value;
    toggle.disabled = absent !== null;
    opacity.disabled = absent !== null || !layer.on.value;
    opacity.value = String(layer.opacity.value);
    fill(reason, absent !== null && (layer.on.value || why.value) ? absent : "");
    reason.hidden = reason.textContent === "";
    if (absent === null && layer.on.value) void load(state, name).catch((error: Error) => (why.value = error.message));
  };
  layer.opacity.follow(show, until);
  state.prediction.follow(() => (why.value === null ? show() : (why.value = null)), until);
  why.follow(show, until);
  layer.on.watch(show, until);
  return element;
}

function missing(state: CaseState, name: LayerName): string | null {
  if (!state.prediction.value) return "Predict first.";
  if (name === "explanation" && state.volume) return "For 2-D scans only.";
  if (name === "explanation" && !state.prediction.value.explainable) return NEEDS_RUN;
  return null;
}

const loading = new Set<string>();

/** Fetches what the layer shows, once. */
async function load(state: CaseState, name: LayerName): Promise<void> {
  const id = state.prediction.value?.id;
  const key = `${id} ${name}`;
  if (!id || name === "lesions" || name === "prediction" || loading.has(key)) return;
  if (name === "explanation" ? state.explanation.value : state.maps[name].value) return;
  loading.add(key);
  try {
    if (name === "explanation") {
      state.explanation.value = await createImageBitmap(new Blob([await bytes(url.explanation(id))]));
    } else {
      state.maps[name].value = await readNifti(await bytes(url.map(id, name)));
    }
  } finally {
    loading.delete(key);
  }
}
