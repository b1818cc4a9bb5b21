/** Words and numbers as a person reads them. */

import type { Outcome, Review } from "../api/types";

export const OUTCOMES: Readonly<Record<Outcome, string>> = {
  tumor: "Tumour", no_tumor: "No tumour", uncertain: "Uncertain", not_brain_mri: "Not a brain MRI",
};

export const REVIEWS: Readonly<Record<Review, string>> = {
  open: "Open", accepted: "Accepted", corrected: "Corrected", rejected: "Rejected",
};

/** "87 %", but never 0 or 100 where the model leaves a doubt. */
export function percent(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value > 0.99 && value < 1) return "> 99 %";
  if (value < 0.01 && value > 0) return "< 1 %";
  return `${Math.round(value * 100)} %`;
}

/** Three significant digits, whole numbers from 100 on, with a space between thousands. */
export function number(value: number): string {
  const text = Math.abs(value) >= 100 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString();
  return text.replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

export function measured(value: number | null | undefined, unit: string): string {
  return value === null || value === undefined ? "–" : `${number(value)}\u00a0${unit}`;
}

export function size(shape: readonly number[]): string {
  return [...shape].reverse().join(" × ");
}

export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
