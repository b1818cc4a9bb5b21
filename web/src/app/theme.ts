/** Dark or light: as the system says until a person chooses. */

import { remembered } from "./signal";

const chosen = remembered<string>("theme", "");
const system = matchMedia("(prefers-color-scheme: dark)");

function current(): "dark" | "light" {
  return chosen.value === "dark" || chosen.value === "light" ? chosen.value : system.matches ? "dark" : "light";
}

function apply(): void {
  document.documentElement.dataset.theme = current();
}

export function startTheme(): void {
  apply();
  system.addEventListener("change", apply);
}

export function switchTheme(): void {
  chosen.value = current() === "dark" ? "light" : "dark";
  apply();
}
