/** Filters of the work list, remembered while the browser is open. */

import type { CaseQuery } from "../api/client";

export type Filters = Pick<CaseQuery, "q" | "decision" | "review" | "sort" | "order">;

export const FIRST: Filters = { q: "", decision: "", review: "", sort: "added", order: "desc" };
const KEY = "tumorscope.filters";

export function restored(): Filters {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "{}") as Partial<Filters>;
    return { ...FIRST, ...kept };
  } catch {
    return FIRST;
  }
}

export function keep(filters: Filters): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(filters));
  } catch {
    // the filters last until the page is left
  }
}
