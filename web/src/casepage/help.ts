/** The sheet of keys, made from the commands themselves. */

import { ask } from "../app/dialog";
import { h } from "../app/dom";
import type { Command } from "./commands";

const MOUSE: readonly (readonly [string, string])[] = [
  ["wheel", "Zoom at the pointer"],
  ["Shift + wheel", "Through the slices of a volume"],
  ["right drag", "Window (sideways) and level (up and down)"],
  ["Space + drag, middle drag", "Move the scan"],
  ["Shift + click", "The opposite: negative click, eraser, negative scribble"],
  ["two fingers", "Move and zoom on a touch screen"],
];

export function showHelp(commands: readonly Command[]): void {
  const groups = [...new Set(commands.map((command) => command.group))];
  const shown = commands.filter((command) => command.when !== false);
  const sheet = h(
    "div", { class: "keys" },
    ...groups.map((group) =>
      section(group, shown.filter((one) => one.group === group).map((one) => [one.keys.slice(0, 2).map(named), one.text])),
    ),
    section("Mouse and touch", MOUSE.map(([keys, text]) => [[keys], text])),
  );
  void ask("Keys", sheet, [{ text: "Close", value: null, kind: "primary" }]);
}

function section(title: string, rows: readonly (readonly [readonly string[], string])[]): HTMLElement {
  return h(
    "section", {},
    h("h3", {}, title),
    h("dl", {}, ...rows.flatMap(([keys, text]) => [
      h("dt", {}, ...keys.flatMap((key, at) => (at ? [" ", h("kbd", {}, key)] : [h("kbd", {}, key)]))),
      h("dd", {}, text),
    ])),
  );
}

const WORDS: Readonly<Record<string, string>> = {
  "mod+z": "Ctrl Z", "mod+shift+z": "Ctrl ⇧ Z", "mod+y": "Ctrl Y", "mod+s": "Ctrl S", arrowup: "↑", arrowdown: "↓",
  pageup: "Page ↑", pagedown: "Page ↓", escape: "Esc", delete: "Del",
};

function named(key: string): string {
  return WORDS[key] ?? key.toUpperCase();
}
