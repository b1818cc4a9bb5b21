/** Mouse, pen and fingers on a slice. */

import { dragged } from "../core/levels";
import type { Spot } from "../core/paint";
import { fitted, inside, panned, toSlice, zoomedAt, type Frame } from "../core/view";
import type { CaseState } from "./state";
import type { Strokes } from "./strokes";

type Mode = "tool" | "pan" | "levels";
const WHEEL = 0.0015; // logarithm of zoom for each pixel of wheel travel
const LEVELS = 1 / 400; // of the range for each pixel of drag
const SLICE_WHEEL = 40; // pixels of wheel travel for a slice

/** Keys that turn the pointer into another tool while they are held. */
export const held = { space: false, levels: false };

export class Gestures {
  private readonly pointers = new Map<number, Spot>();
  private mode: Mode | null = null;
  private travel = 0;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly state: CaseState,
    private readonly strokes: Strokes,
    private readonly frame: () => Frame,
    until: AbortSignal,
  ) {
    const on = <Name extends keyof HTMLElementEventMap>(name: Name, act: (event: HTMLElementEventMap[Name]) => void): void =>
      canvas.addEventListener(name, act, { signal: until, passive: false });
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event, false));
    on("pointercancel", (event) => this.up(event, true));
    on("pointerleave", () => !this.mode && (state.pointer.value = null));
    on("contextmenu", (event) => event.preventDefault());
    on("wheel", (event) => this.wheel(event));
    on("dblclick", () => state.tool.value === "hand" && (state.view.value = null));
  }

  private down(event: PointerEvent): void {
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.place(event));
    if (this.pointers.size > 1) {
      this.strokes.cancel(); // a second finger: it was the beginning of a pinch
      this.mode = "pan";
      return;
    }
    this.mode = this.modeOf(event);
    const spot = this.spot(event);
    if (this.mode === "tool" && inside(spot, this.frame())) this.strokes.begin(spot, event.shiftKey);
  }

  private modeOf(event: PointerEvent): Mode {
    if (event.button === 1 || held.space || this.state.tool.value === "hand") return "pan";
    if (event.button === 2 || held.levels || this.state.tool.value === "levels") return "levels";
    return "tool";
  }

  private move(event: PointerEvent): void {
    const before = this.pointers.get(event.pointerId);
    const now = this.place(event);
    this.state.pointer.value = this.spot(event);
    if (!before) return;
    this.pointers.set(event.pointerId, now);
    const [dx, dy] = [now.x - before.x, now.y - before.y];
    if (this.pointers.size > 1) this.pinch(event.pointerId, before, now);
    else if (this.mode === "pan") this.state.view.value = panned(this.view(), this.frame(), dx, dy);
    else if (this.mode === "levels") this.state.levels.value = dragged(this.state.levels.value, dx * LEVELS, dy * LEVELS);
    else if (this.mode === "tool") {
      const between = event.getCoalescedEvents?.() ?? [];
      for (const one of between.length ? between : [event]) this.strokes.move(this.spot(one));
    }
  }

  private up(event: PointerEvent, cancelled: boolean): void {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.mode === "tool") {
      if (cancelled) this.strokes.cancel();
      else this.strokes.end();
    }
    if (this.pointers.size === 0) this.mode = null;
    if (event.pointerType === "touch") this.state.pointer.value = null;
  }

  /** Two fingers: what lies between them follows them. */
  private pinch(moved: number, before: Spot, now: Spot): void {
    const other = [...this.pointers].find(([id]) => id !== moved)?.[1];
    if (!other) return;
    const apart = (spot: Spot): number => Math.max(1, Math.hypot(spot.x - other.x, spot.y - other.y));
    const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    const shifted = panned(this.view(), this.frame(), (now.x - before.x) / 2, (now.y - before.y) / 2);
    this.state.view.value = zoomedAt(shifted, this.frame(), middle, apart(now) / apart(before));
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    const way = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    if (this.state.volume && (event.shiftKey || event.altKey)) {
      this.travel += way || event.deltaX; // browsers turn shift and wheel into sideways travel
      const steps = Math.trunc(this.travel / SLICE_WHEEL);
      this.travel -= steps * SLICE_WHEEL;
      if (steps) this.state.goTo(this.state.index.value + steps);
      return;
    }
    this.state.view.value = zoomedAt(this.view(), this.frame(), this.place(event), Math.exp(-way * WHEEL));
  }

  private view() {
    return this.state.view.value ?? fitted(this.frame());
  }

  private place(event: MouseEvent): Spot {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  private spot(event: MouseEvent): Spot {
    return toSlice(this.place(event), this.view(), this.frame());
  }
}
