/** Keys of a case page. Nothing is taken from a field that someone types in. */

import { held } from "./gestures";
import type { Command } from "./commands";

export function listen(commands: readonly Command[], help: () => void, until: AbortSignal): void {
  const known = new Map<string, Command>();
  for (const command of commands) {
    if (command.when !== false) for (const key of command.keys) known.set(key, command);
  }
  const release = (): void => void (held.space = held.levels = false);
  window.addEventListener(
    "keydown",
    (event) => {
      if (document.querySelector("dialog[open]")) return;
      const chord = chordOf(event);
      if (typing(event.target, chord) && chord !== "mod+s") return;
      if (event.key === " " && !(event.target instanceof HTMLButtonElement)) {
        held.space = true;
        event.preventDefault();
        return;
      }
      if (chord === "w") held.levels = true;
      if (event.key === "?") return help();
      const command = known.get(chord);
      if (!command || (event.repeat && !REPEATED.has(chord))) return;
      event.preventDefault();
      command.act();
    },
    { signal: until },
  );
  window.addEventListener("keyup", (event) => {
    if (event.key === " ") held.space = false;
    if (event.key.toLowerCase() === "w") held.levels = false;
  }, { signal: until });
  window.addEventListener("blur", release, { signal: until });
  until.addEventListener("abort", release);
}

const REPEATED = new Set(["[", "]", "+", "=", "-", "arrowup", "arrowdown", "pageup", "pagedown", "mod+z", "mod+shift+z", "mod+y", "z", "y"]);

function chordOf(event: KeyboardEvent): string {
  const mod = event.ctrlKey || event.metaKey ? "mod+" : "";
  const shift = mod && event.shiftKey ? "shift+" : "";
  return event.altKey ? "" : mod + shift + event.key.toLowerCase();
}

/** Whether the key is meant for the field that has the focus; a slider wants its arrows only. */
function typing(target: EventTarget | null, chord: string): boolean {
  if (target instanceof HTMLInputElement && target.type === "range") return /^(arrow|page|home|end)/.test(chord);
  if (target instanceof HTMLInputElement) return !["checkbox", "color"].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}
