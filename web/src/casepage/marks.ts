/** Lines and signs over a slice: outlines, clicks, boxes, scribbles, the brush. All in screen pixels. */

import type { Prompts } from "../api/types";
import type { Spot } from "../core/paint";
import { scale, toScreen, type Frame, type View } from "../core/view";
import type { Stroke } from "./strokes";

export const POSITIVE = "#5ee38b";
export const NEGATIVE = "#ff6b6b";
export const PREDICTED = "#6ecbff";
const HALO = "rgba(0, 0, 0, 0.65)"; // so that a line stands out on bright and on dark tissue
const CLICK = 6; // radius

export class Marks {
  constructor(
    private readonly context: CanvasRenderingContext2D,
    private readonly view: View,
    private readonly frame: Frame,
  ) {}

  /** A mask by its outline: a line, and within it a tint. */
  mask(path: Path2D, colour: string, tint: number, width: number): void {
    const placed = this.placed(path);
    this.context.globalAlpha = tint;
    this.context.fillStyle = colour;
    this.context.fill(placed);
    this.context.globalAlpha = 1;
    this.line(placed, colour, width);
  }

  outline(path: Path2D, colour: string, width: number, dash: readonly number[]): void {
    this.line(this.placed(path), colour, width, dash);
  }

  prompts(prompts: Prompts, waiting: boolean): void {
    this.context.globalAlpha = waiting ? 0.6 : 1;
    const { box } = prompts;
    if (box) this.rectangle({ x: box.left, y: box.top }, { x: box.right, y: box.bottom });
    for (const line of prompts.scribbles) this.scribble(line.path.map(([y, x]) => ({ x, y })), line.positive);
    for (const point of prompts.points) this.click(point, point.positive);
    this.context.globalAlpha = 1;
  }

  going(stroke: Stroke): void {
    if (stroke.kind === "box") this.rectangle(stroke.from, stroke.to);
    if (stroke.kind === "scribble") this.scribble(stroke.path, stroke.positive);
  }

  /** The brush's circle, or a cross where another tool points. */
  pointer(spot: Spot, brush: number | null, here: boolean): void {
    const { x, y } = this.at(spot);
    const path = new Path2D();
    if (brush !== null) {
      const radius = Math.max(1.5, (brush / 2) * scale(this.view, this.frame));
      path.ellipse(x, y, radius * this.frame.aspect, radius, 0, 0, 2 * Math.PI);
    } else if (!here) {
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
        path.moveTo(x + 4 * dx, y + 4 * dy);
        path.lineTo(x + 12 * dx, y + 12 * dy);
      }
    }
    this.line(path, "#ffffff", 1.25);
  }

  private click(point: Spot, positive: boolean): void {
    const { x, y } = this.at(point);
    const { context } = this;
    context.beginPath();
    context.arc(x, y, CLICK, 0, 2 * Math.PI);
    context.fillStyle = positive ? POSITIVE : NEGATIVE;
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = "#10151c";
    context.stroke();
    context.beginPath();
    context.moveTo(x - 3, y);
    context.lineTo(x + 3, y);
    if (positive) {
      context.moveTo(x, y - 3);
      context.lineTo(x, y + 3);
    }
    context.stroke();
  }

  private scribble(points: readonly Spot[], positive: boolean): void {
    const path = new Path2D();
    points.forEach((point, number) => {
      const { x, y } = this.at(point);
      if (number === 0) path.moveTo(x, y);
      path.lineTo(x, y);
    });
    this.line(path, positive ? POSITIVE : NEGATIVE, 3);
  }

  private rectangle(from: Spot, to: Spot): void {
    const [a, b] = [this.at(from), this.at(to)];
    const path = new Path2D();
    path.rect(Math.min(a.x, b.x), Math.min(a.y, b.y), Math.abs(a.x - b.x), Math.abs(a.y - b.y));
    this.line(path, "#ffe08a", 1.5, [6, 4]);
  }

  /** From pixels of the slice to the screen; the width of a line is not stretched. */
  private placed(path: Path2D): Path2D {
    const size = scale(this.view, this.frame);
    const origin = this.at({ x: 0, y: 0 });
    const moved = new Path2D();
    moved.addPath(path, new DOMMatrix([size * this.frame.aspect, 0, 0, size, origin.x, origin.y]));
    return moved;
  }

  private line(path: Path2D, colour: string, width: number, dash: readonly number[] = []): void {
    const { context } = this;
    context.lineJoin = "round";
    context.lineCap = dash.length ? "butt" : "round";
    context.setLineDash([]);
    context.lineWidth = width + 1.75;
    context.strokeStyle = HALO;
    if (!dash.length) context.stroke(path);
    context.setLineDash([...dash]);
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke(path);
    context.setLineDash([]);
  }

  private at(spot: Spot): Spot {
    return toScreen(spot, this.view, this.frame);
  }
}
