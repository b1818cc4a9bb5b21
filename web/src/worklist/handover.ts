/** What the work list hands to a case page: the order of the scans, and whether to predict on arrival. */

const KEY = "tumorscope.order";
let wanted: string | null = null;

export function keepOrder(ids: readonly string[]): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(ids));
  } catch {
    // without storage there is no next scan, and everything else works
  }
}

export function neighbours(id: string): { previous: string | null; next: string | null } {
  let ids: string[] = [];
  try {
    ids = JSON.parse(sessionStorage.getItem(KEY) ?? "[]") as string[];
  } catch {
    // as above
  }
  const at = ids.indexOf(id);
  return at === -1 ? { previous: null, next: null } : { previous: ids[at - 1] ?? null, next: ids[at + 1] ?? null };
}

/** The case page of that scan shall predict as soon as it opens. */
export function requestPrediction(id: string): void {
  wanted = id;
}

/** Whether that was asked for; true once. */
export function predictionRequested(id: string): boolean {
  const asked = wanted === id;
  if (asked) wanted = null;
  return asked;
}
