/** The work list: every scan of the workspace, found, sorted, filtered, and opened. */

import { api } from "../api/client";
import type { Case, CasePage, Review, Uploaded } from "../api/types";
import { fill, h, option, set } from "../app/dom";
import { icon } from "../app/icons";
import { complain, say } from "../app/notices";
import { address, go } from "../app/router";
import { counted, OUTCOMES, REVIEWS } from "../app/wording";
import { card } from "./card";
import { exportMenu } from "./exporting";
import { Jobs } from "./jobs";
import { keepOrder, requestPrediction } from "./handover";
import { FIRST, keep, restored, type Filters } from "./query";
import { acceptDrops, uploader } from "./upload";

const PAGE = 60;
const TYPING_MS = 200;

export class WorkList {
  readonly element: HTMLElement;
  private filters = restored();
  private shown: Case[] = [];
  private readonly chosen = new Set<string>();
  private asked = new AbortController();
  private readonly grid = h("ul", { class: "cards" });
  private readonly count = h("p", { class: "muted", role: "status" });
  private readonly more = h("button", { class: "wide", hidden: true, onclick: () => void this.load(this.shown.length) }, "Show more");
  private readonly empty = h("div", { class: "empty" });
  private readonly tabs = h("div", { class: "segments tabs", role: "group", "aria-label": "Review" });
  private readonly selection = h("div", { class: "selection", hidden: true });
  private readonly jobs: Jobs;
  private readonly upload = uploader((result) => this.uploaded(result));

  constructor(private readonly until: AbortSignal) {
    this.jobs = new Jobs(() => void this.load(0), until);
    acceptDrops(this.upload.send, until);
    this.element = h(
      "main", { class: "worklist" },
      h("div", { class: "list-head" }, h("h1", {}, "Scans"), h("span", { class: "spring" }), ...this.actions()),
      this.filterBar(), this.upload.status, this.jobs.element, this.selection, this.count, this.grid, this.empty, this.more,
    );
    until.addEventListener("abort", () => this.asked.abort());
    void this.load(0);
  }

  private actions(): HTMLElement[] {
    const picker = h("input", {
      type: "file", multiple: true, hidden: true, id: "picker",
      onchange: () => (void this.upload.send([...(picker.files ?? [])]), (picker.value = "")),
    });
    return [
      exportMenu(() => void this.load(0)),
      h("button", { onclick: () => void this.jobs.predict(null) }, icon("play"), "Predict all"),
      h("button", { class: "primary", onclick: () => picker.click() }, icon("upload"), "Add scans"),
      picker,
    ];
  }

  private filterBar(): HTMLElement {
    let typing = 0;
    const search = h("input", {
      type: "search", id: "search", placeholder: "Search by name", "aria-label": "Search by name", value: this.filters.q,
      oninput: () => {
        clearTimeout(typing);
        typing = window.setTimeout(() => this.filter({ q: search.value.trim() }), TYPING_MS);
      },
    });
    const decision = select("Prediction", this.filters.decision, [["", "Any prediction"], ...Object.entries(OUTCOMES)],
      (value) => this.filter({ decision: value }));
    const sort = select("Sort by", `${this.filters.sort} ${this.filters.order}`, [
      ["added desc", "Newest first"], ["added asc", "Oldest first"], ["name asc", "Name"],
      ["probability desc", "Most likely tumour first"], ["probability asc", "Least likely tumour first"], ["review asc", "Review"],
    ], (value) => {
      const [by, order] = value.split(" ") as [string, string];
      this.filter({ sort: by, order });
    });
    return h("div", { class: "filters", role: "search" }, h("div", { class: "search" }, icon("search"), search), this.tabs, decision, sort);
  }

  private filter(change: Partial<Filters>): void {
    this.filters = { ...this.filters, ...change };
    keep(this.filters);
    void this.load(0);
  }

  /** Scans from `offset` on; from 0, everything shown is read anew, however much that was. */
  private async load(offset: number): Promise<void> {
    if (this.until.aborted) return;
    this.asked.abort();
    this.asked = new AbortController();
    const limit = offset === 0 ? Math.min(200, Math.max(PAGE, this.shown.length)) : PAGE;
    try {
      const page = await api.cases({ ...this.filters, limit, offset }, this.asked.signal);
      this.shown = offset === 0 ? [...page.items] : [...this.shown, ...page.items];
      this.show(page);
    } catch (error) {
      complain(error);
    }
  }

  private show(page: CasePage): void {
    keepOrder(this.shown.map((one) => one.id));
    fill(this.grid, ...this.shown.map((one) => card(one, this.chosen.has(one.id), (chosen) => this.choose(one.id, chosen))));
    this.more.hidden = this.shown.length >= page.total;
    this.count.textContent = page.total ? `${counted(page.total, "scan")}${this.filtered() ? " found" : ""}` : "";
    this.showTabs(page);
    this.showEmpty(page.total);
  }

  private showTabs(page: CasePage): void {
    const counts = page.counts.review ?? {};
    const focused = this.tabs.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset.review : undefined;
    const tab = (review: Review | "", text: string): HTMLElement =>
      h("button", { class: "plain", "data-review": review, "aria-pressed": String(this.filters.review === review), onclick: () => this.filter({ review }) },
        text, review && counts[review] !== undefined ? h("span", { class: "count" }, counts[review]) : null);
    fill(this.tabs, tab("", "All"), ...(Object.keys(REVIEWS) as Review[]).map((review) => tab(review, REVIEWS[review])));
    if (focused !== undefined) this.tabs.querySelector<HTMLElement>(`[data-review="${focused}"]`)?.focus();
  }

  private showEmpty(total: number): void {
    set(this.empty, "hidden", total > 0);
    if (total > 0) return;
    if (this.filtered()) {
      fill(this.empty, h("p", {}, "No scan matches."), h("button", { onclick: () => this.reset() }, "Clear the filters"));
    } else {
      fill(this.empty, icon("upload"), h("h2", {}, "Drop a scan here"),
        h("p", { class: "muted" }, "PNG, JPG, TIFF, DICOM or NIfTI; several files, folders or a ZIP. Nothing leaves this machine."));
    }
  }

  private filtered(): boolean {
    return this.filters.q !== "" || this.filters.decision !== "" || this.filters.review !== "";
  }

  private reset(): void {
    this.element.querySelector<HTMLInputElement>("#search")!.value = "";
    this.element.querySelectorAll("select").forEach((one) => (one.selectedIndex = 0));
    this.filter(FIRST);
  }

  private choose(id: string, chosen: boolean): void {
    if (chosen) this.chosen.add(id);
    else this.chosen.delete(id);
    this.selection.hidden = this.chosen.size === 0;
    fill(
      this.selection,
      h("span", {}, `${counted(this.chosen.size, "scan")} chosen`),
      h("button", { onclick: () => void this.jobs.predict([...this.chosen]) }, icon("play"), "Predict them"),
      h("button", { onclick: () => this.unchoose() }, "Choose none"),
    );
  }

  private unchoose(): void {
    this.chosen.clear();
    this.selection.hidden = true;
    void this.load(0);
  }

  /** One scan is predicted and opened, several are predicted in the background. */
  private uploaded(result: Uploaded): void {
    const ids = result.created.map((one) => one.id);
    if (ids.length === 1) {
      openAndPredict(ids[0]!);
    } else if (ids.length > 1) {
      say(`${counted(ids.length, "scan")} added.`);
      void this.load(0);
      void this.jobs.predict(ids);
    }
  }
}

/** The case page opens at once and predicts while the scan is already seen. */
function openAndPredict(id: string): void {
  requestPrediction(id);
  go(address.case(id));
}

function select(label: string, value: string, choices: readonly (readonly [string, string])[], chosen: (value: string) => void): HTMLElement {
  const element = h("select", { "aria-label": label, onchange: () => chosen(element.value) },
    ...choices.map(([one, text]) => option(one, text, one === value)));
  return element;
}

