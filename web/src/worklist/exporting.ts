/** All reviewed masks as a data set that `tumorscope train` reads, and such a data set back. */

import { api, url } from "../api/client";
import { h, option } from "../app/dom";
import { ask } from "../app/dialog";
import { icon } from "../app/icons";
import { complain, say } from "../app/notices";
import { counted } from "../app/wording";
import { named } from "./upload";

export function exportMenu(imported: () => void): HTMLElement {
  return h("button", { onclick: () => void open(imported) }, icon("download"), "Masks");
}

async function open(imported: () => void): Promise<void> {
  const format = h("select", { id: "export-format" },
    option("png", "PNG masks (NIfTI for volumes)"), option("nifti", "NIfTI masks"), option("npz", "NumPy arrays"), option("coco", "COCO"));
  const drafts = h("input", { type: "checkbox", id: "export-drafts" });
  const picker = h("input", { type: "file", id: "import-file", multiple: true, accept: ".zip,.png,.json,.csv,.gz,.nii" });
  const body = h(
    "div", { class: "stack" },
    h("p", {}, "A ZIP with scans, masks, the record of each mask, and the manifest.csv that tumorscope train reads."),
    h("div", { class: "field" }, h("label", { for: "export-format" }, "Masks as"), format),
    h("div", { class: "check" }, drafts, h("label", { for: "export-drafts" }, "also what is still open")),
    h("hr", {}),
    h("div", { class: "field" }, h("label", { for: "import-file" }, "Or bring masks in: a ZIP from here"), picker),
  );
  const choice = await ask("Masks of all scans", body, [
    { text: "Download ZIP", value: "export", kind: "primary" }, { text: "Import", value: "import" }, { text: "Close", value: "close" },
  ] as const);
  if (choice === "export") download(url.exportAll(format.value, drafts.checked ? "accepted,corrected,open" : "accepted,corrected"));
  if (choice === "import") await bringIn([...(picker.files ?? [])], imported);
}

/** The browser fetches the ZIP itself: it may be larger than a page can hold. */
function download(address: string): void {
  const link = h("a", { href: address, download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}

async function bringIn(files: readonly File[], imported: () => void): Promise<void> {
  if (files.length === 0) return say("Choose a ZIP first.", "error");
  try {
    const result = await api.importMasks(files);
    for (const skipped of result.skipped.slice(0, 3)) say(named(skipped), "error");
    say(`${counted(result.imported, "annotation")} imported.`);
    imported();
  } catch (error) {
    complain(error);
  }
}
