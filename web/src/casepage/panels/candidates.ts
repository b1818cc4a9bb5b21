/** The engine's candidates for the last prompts, and the choice of the engine itself. */

import { fill, h, option, set } from "../../app/dom";
import { percent } from "../../app/wording";
import { bounds } from "../../core/contour";
import { pixels } from "../../core/planes";
import { area, type Rle } from "../../core/rle";
import type { Asking } from "../asking";
import { colourOf } from "../colours";
import type { CaseState } from "../state";
import { panel } from "./panel";

const PREVIEW = 64; // pixels

export function candidatesPanel(state: CaseState, asking: Asking, until: AbortSignal): HTMLElement {
  const row = h("div", { class: "candidates", role: "group", "aria-label": "Candidates" });
  const hint = h("p", { class: "muted" });
  const show = (): void => {
    const lesion = state.activeLesion();
    const asked = lesion?.asked?.index === state.index.value ? lesion.asked : null;
    const number = lesion ? state.doc.value.lesions.indexOf(lesion) : 0;
    const colour = colourOf(lesion?.id ?? "", Math.max(0, number));
    fill(row, ...(asked?.candidates ?? []).map((candidate, at) =>
      h(
        "button", { class: "candidate", "aria-pressed": String(at === asked!.chosen), onclick: () => asking.choose(at) },
        preview(candidate.mask, colour),
        h("span", {}, h("kbd", {}, at + 1), candidate.quality === null ? "" : ` ${percent(candidate.quality)}`),
      ),
    ));
    if (!asked) hint.textContent = "Click, box or scribble: the engine answers with candidates.";
    else if (asked.candidates.every((one) => one.quality === null)) hint.textContent = "This engine does not say how good it is.";
    else hint.textContent = "Predicted quality (IoU). Keys 1 to 3 choose.";
  };
  for (const signal of [state.doc, state.active, state.index]) signal.follow(show, until);
  show();
  return panel("Engine", engineChooser(state, until), row, hint);
}

function engineChooser(state: CaseState, until: AbortSignal): HTMLElement {
  const engines = state.models.filter((model) => model.kind === "engine");
  const first = engines.find((model) => model.default && model.available) ?? engines.find((model) => model.available);
  if (!engines.some((model) => model.name === state.engine.value && model.available)) state.engine.value = first?.name ?? "";
  const select = h(
    "select", { id: "engine", onchange: () => (state.engine.value = select.value) },
    ...engines.map((model) => {
      const choice = option(model.name, model.available ? model.name : `${model.name} (not here)`);
      set(choice, "disabled", !model.available);
      set(choice, "title", model.reason);
      return choice;
    }),
  );
  state.engine.watch((name) => (select.value = name), until);
  const absent = engines.filter((model) => !model.available);
  const more = absent.length
    ? h("details", { class: "absent" }, h("summary", {}, `${absent.length} engines are not installed`),
        h("ul", {}, ...absent.map((model) => h("li", {}, h("b", {}, model.name), ` ${model.reason ?? ""}`))))
    : null;
  return h("div", { class: "field" }, h("label", { for: "engine" }, "Engine for clicks"), select, more);
}

/** The mask's own rectangle, small. */
function preview(rle: Rle, colour: string): HTMLCanvasElement {
  const canvas = h("canvas", { width: PREVIEW, height: PREVIEW, "aria-hidden": "true" });
  if (area(rle) === 0) return canvas;
  const context = canvas.getContext("2d")!;
  const [, width] = rle.size;
  const plane = pixels(rle);
  const box = bounds(plane, width)!;
  const side = Math.max(box.right - box.left + 1, box.bottom - box.top + 1) * 1.15;
  const step = PREVIEW / side;
  const [x0, y0] = [(box.left + box.right + 1 - side) / 2, (box.top + box.bottom + 1 - side) / 2];
  context.fillStyle = colour;
  for (let y = 0; y < PREVIEW; y++) {
    for (let x = 0; x < PREVIEW; x++) {
      const [px, py] = [Math.floor(x0 + x / step), Math.floor(y0 + y / step)];
      if (px >= box.left && px <= box.right && py >= box.top && py <= box.bottom && plane[py * width + px]) context.fillRect(x, y, 1, 1);
    }
  }
  return canvas;
}
