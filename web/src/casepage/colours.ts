/** A colour for each lesion, told apart also by the colour-blind; a person's choice is remembered on this browser. */

import { remembered, Signal } from "../app/signal";

const PALETTE = ["#ffb454", "#c79bff", "#7ddf64", "#ff7eb6", "#f4e04d", "#ff8a5c"];
const MOST = 200; // chosen colours that are remembered

const stored = remembered<string>("colours", "{}");
const chosen = new Signal<Readonly<Record<string, string>>>(read(stored.value));

function read(text: string): Record<string, string> {
  try {
    const found: unknown = JSON.parse(text);
    return Object.fromEntries(
      Object.entries(found as object).filter(([, value]) => typeof value === "string" && /^#[0-9a-f]{6}$/i.test(value)),
    ) as Record<string, string>;
  } catch {
    return {};
  }
}

export const colours = chosen as Pick<Signal<unknown>, "follow">;

export function colourOf(lesion: string, number: number): string {
  return chosen.value[lesion] ?? PALETTE[number % PALETTE.length]!;
}

export function paintLesion(lesion: string, colour: string): void {
  const kept = Object.entries({ ...chosen.value, [lesion]: colour }).slice(-MOST);
  chosen.value = Object.fromEntries(kept);
  stored.value = JSON.stringify(chosen.value);
}
