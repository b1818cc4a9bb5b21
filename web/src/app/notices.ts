/** Messages at the foot of the page, read out by screen readers: what went well, what did not, what to do next. */

import { h } from "./dom";

type Kind = "info" | "error";
const SHOWN_MS = { info: 4000, error: 9000 };

const polite = h("div", { class: "notices", role: "status", "aria-live": "polite" });
const urgent = h("div", { class: "notices", role: "alert" });

export const noticeArea = h("div", { class: "notice-area" }, urgent, polite);

export interface Offer {
  readonly text: string;
  readonly act: () => void;
}

export function say(text: string, kind: Kind = "info", offer?: Offer): void {
  const area = kind === "error" ? urgent : polite;
  const close = (): void => notice.remove();
  const notice = h(
    "div",
    { class: `notice ${kind}` },
    h("span", {}, text),
    offer && h("button", { class: "small", onclick: () => (close(), offer.act()) }, offer.text),
    h("button", { class: "plain small", "aria-label": "Close message", onclick: close }, "×"),
  );
  while (area.childElementCount > 2) area.firstElementChild?.remove();
  area.append(notice);
  setTimeout(close, SHOWN_MS[kind]);
}

/** Shows what failed. An aborted request is nobody's error. */
export function complain(error: unknown): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  say(error instanceof Error ? error.message : String(error), "error");
}
