/** From pixels of a slice to the screen and back. */

import type { Spot } from "./paint";

/** `zoom` 1 fits the slice into the pane; (x, y) is the pixel position in the pane's middle. */
export interface View {
  readonly zoom: number;
  readonly x: number;
  readonly y: number;
}

export interface Frame {
  readonly width: number; // of the pane, in CSS pixels
  readonly height: number;
  readonly columns: number; // of the slice
  readonly rows: number;
  readonly aspect: number; // width of a pixel divided by its height
}

const MOST_ZOOM = 64;
const LEAST_ZOOM = 0.25;

export function fitted(frame: Frame): View {
  return { zoom: 1, x: (frame.columns - 1) / 2, y: (frame.rows - 1) / 2 };
}

/** CSS pixels per row of the slice. */
export function scale(view: View, frame: Frame): number {
  return view.zoom * Math.min(frame.width / (frame.columns * frame.aspect), frame.height / frame.rows);
}

export function toScreen(spot: Spot, view: View, frame: Frame): Spot {
  const size = scale(view, frame);
  return {
    x: frame.width / 2 + (spot.x - view.x) * size * frame.aspect,
    y: frame.height / 2 + (spot.y - view.y) * size,
  };
}

export function toSlice(screen: Spot, view: View, frame: Frame): Spot {
  const size = scale(view, frame);
  return {
    x: view.x + (screen.x - frame.width / 2) / (size * frame.aspect),
    y: view.y + (screen.y - frame.height / 2) / size,
  };
}

/** The view zoomed by `factor` so that what lies under `screen` stays there. */
export function zoomedAt(view: View, frame: Frame, screen: Spot, factor: number): View {
  const zoom = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, view.zoom * factor));
  const before = toSlice(screen, view, frame);
  const after = toSlice(screen, { ...view, zoom }, frame);
  return { zoom, x: view.x + before.x - after.x, y: view.y + before.y - after.y };
}

export function panned(view: View, frame: Frame, dx: number, dy: number): View {
  const size = scale(view, frame);
  return { ...view, x: view.x - dx / (size * frame.aspect), y: view.y - dy / size };
}

export function inside(spot: Spot, frame: Frame): boolean {
  return spot.x >= -0.5 && spot.y >= -0.5 && spot.x <= frame.columns - 0.5 && spot.y <= frame.rows - 0.5;
}
