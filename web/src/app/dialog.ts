/** Questions that stop everything else, on the browser's own `<dialog>`: it keeps the focus and closes on Escape. */

import { h, type Child } from "./dom";

export interface Choice<T> {
  readonly text: string;
  readonly value: T;
  readonly kind?: "primary" | "danger";
}

/** The chosen value, or null when the dialog was closed without one. */
export function ask<T>(title: string, body: Child, choices: readonly Choice<T>[]): Promise<T | null> {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "dialog", "aria-labelledby": "dialog-title", onclose: () => (dialog.remove(), resolve(null)) },
      h("h2", { id: "dialog-title" }, title),
      h("div", { class: "dialog-body" }, body),
      h(
        "div",
        { class: "dialog-buttons" },
        ...choices.map((choice) =>
          h("button", { class: choice.kind ?? "", onclick: () => (resolve(choice.value), dialog.close()) }, choice.text),
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}
