/** One scan of the work list. */

import { url } from "../api/client";
import type { Case } from "../api/types";
import { h } from "../app/dom";
import { address } from "../app/router";
import { counted, OUTCOMES, percent, REVIEWS, size } from "../app/wording";

export function card(scan: Case, chosen: boolean, choose: (chosen: boolean) => void): HTMLElement {
  const box = h("input", {
    type: "checkbox", checked: chosen, "aria-label": `Choose ${scan.name}`, onchange: () => choose(box.checked),
  });
  const verdict = scan.decision
    ? h("span", { class: `chip ${scan.decision}` }, `${OUTCOMES[scan.decision]}${scan.probability === null ? "" : ` ${percent(scan.probability)}`}`)
    : h("span", { class: "muted" }, "not predicted");
  return h(
    "li", { class: "card" },
    h(
      "a", { href: address.case(scan.id), class: "card-link" },
      h("img", { src: url.thumbnail(scan.id), alt: "", width: 160, height: 160, loading: "lazy" }),
      h("span", { class: "card-name cut", title: scan.name }, scan.name),
      h("span", { class: "card-facts" }, verdict, scan.review !== "open" && h("span", { class: `chip ${scan.review}` }, REVIEWS[scan.review])),
      h("span", { class: "muted card-size" }, `${size(scan.shape)}${scan.lesions ? ` · ${counted(scan.lesions, "lesion")}` : ""}`),
    ),
    h("label", { class: "card-choice" }, box),
  );
}
