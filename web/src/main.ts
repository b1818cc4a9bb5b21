/** The viewer's frame: a bar at the top, one page under it, messages at the foot. */

import { api } from "./api/client";
import { fill, h } from "./app/dom";
import { icon } from "./app/icons";
import { noticeArea } from "./app/notices";
import { address, go, start, type Route } from "./app/router";
import { startTheme, switchTheme } from "./app/theme";
import { casePage, explained } from "./casepage/page";
import { WorkList } from "./worklist/page";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/worklist.css";
import "./styles/case.css";
import "./styles/panels.css";

const NOTICE = "Research software, not a medical device: do not use it for diagnosis.";

const page = h("div", { id: "page" });
const version = h("span", { class: "muted" });
let leaving = new AbortController();

async function show(route: Route): Promise<void> {
  leaving.abort();
  leaving = new AbortController();
  const until = leaving.signal;
  document.body.dataset.page = route.page;
  if (route.page === "list") {
    document.title = "Scans · tumorscope";
    fill(page, new WorkList(until).element);
    return;
  }
  fill(page, h("main", { class: "waiting" }, h("span", { class: "spinner", "aria-hidden": "true" }), "Opening the scan …"));
  try {
    const shown = await casePage(route.id, until);
    if (until.aborted) return;
    document.title = `${shown.title} · tumorscope`;
    fill(page, shown.element);
  } catch (error) {
    if (until.aborted) return;
    fill(page, h("main", { class: "waiting" }, h("p", {}, explained(error)), h("button", { onclick: () => go(address.list) }, "To the scans")));
  }
}

function frame(): HTMLElement {
  return h(
    "header", { class: "topbar" },
    h("a", { href: address.list, class: "brand" }, h("img", { src: "/favicon.svg", alt: "", width: 22, height: 22 }), "tumorscope"),
    version,
    h("span", { class: "spring" }),
    h("span", { class: "research" }, NOTICE),
    h("button", { class: "plain square", title: "Dark or light", "aria-label": "Dark or light", onclick: switchTheme }, icon("theme")),
  );
}

startTheme();
fill(document.querySelector("#app")!, frame(), page, noticeArea);
void api.health().then((health) => (version.textContent = health.version), () => undefined); // a page shows its own error
start((route) => void show(route));
