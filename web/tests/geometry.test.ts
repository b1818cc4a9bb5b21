import { describe, expect, it } from "vitest";
import { bounds, loops, type Loop } from "../src/core/contour";
import { distance, stroke } from "../src/core/paint";
import { fitted, panned, toScreen, toSlice, zoomedAt, type Frame } from "../src/core/view";
import { drawing, noise, random } from "./drawing";

const frame: Frame = { width: 801, height: 377, columns: 181, rows: 217, aspect: 1.4 };

describe("the view", () => {
  it("leads from the slice to the screen and back", () => {
    const next = random(5);
    for (let one = 0; one < 200; one++) {
      const view = { zoom: 0.3 + 9 * next(), x: 181 * next(), y: 217 * next() };
      const spot = { x: 181 * next(), y: 217 * next() };
      const back = toSlice(toScreen(spot, view, frame), view, frame);
      expect(back.x).toBeCloseTo(spot.x, 8);
      expect(back.y).toBeCloseTo(spot.y, 8);
    }
  });

  it("keeps what lies under the pointer while it zooms", () => {
    const at = { x: 123, y: 45 };
    const view = fitted(frame);
    const before = toSlice(at, view, frame);
    const after = toSlice(at, zoomedAt(view, frame, at, 3.7), frame);
    expect(after.x).toBeCloseTo(before.x, 8);
    expect(after.y).toBeCloseTo(before.y, 8);
  });

  it("follows a drag", () => {
    const view = fitted(frame);
    const spot = toSlice({ x: 100, y: 100 }, view, frame);
    const moved = toScreen(spot, panned(view, frame, 31, -17), frame);
    expect(moved.x).toBeCloseTo(131, 8);
    expect(moved.y).toBeCloseTo(83, 8);
  });

  it("that fits shows the whole slice, edges of its outer pixels included", () => {
    const corner = toScreen({ x: -0.5, y: -0.5 }, fitted(frame), frame);
    const other = toScreen({ x: 180.5, y: 216.5 }, fitted(frame), frame);
    expect(Math.min(corner.x, corner.y)).toBeGreaterThanOrEqual(-1e-9);
    expect(other.y).toBeLessThanOrEqual(377 + 1e-9);
  });
});

describe("a stroke", () => {
  it("of size 1 sets the pixel under the pointer, and the next one off", () => {
    const plane = new Uint8Array(25);
    stroke(plane, 5, { x: 2.4, y: 1.4 }, { x: 2.4, y: 1.4 }, 1, 1);
    expect([...plane].flatMap((value, at) => (value ? [at] : []))).toEqual([7]);
  });

  it("sets exactly the pixels within half its size", () => {
    const [width, height] = [31, 23];
    const [from, to] = [{ x: 4.2, y: 17.7 }, { x: 22.9, y: 3.1 }];
    const plane = new Uint8Array(width * height);
    stroke(plane, width, from, to, 7, 1);
    plane.forEach((value, at) => {
      const spot = { x: at % width, y: Math.floor(at / width) };
      expect(value, JSON.stringify(spot)).toBe(distance(spot, from, to) <= 3.5 ? 1 : 0);
    });
  });

  it("erases what it painted, and stays on the slice", () => {
    const plane = new Uint8Array(100);
    stroke(plane, 10, { x: -3, y: 5 }, { x: 14, y: 5 }, 4, 1);
    expect(plane.reduce((sum, value) => sum + value, 0)).toBe(50);
    stroke(plane, 10, { x: -3, y: 5 }, { x: 14, y: 5 }, 4, 0);
    expect(plane.every((value) => value === 0)).toBe(true);
    expect(stroke(plane, 10, { x: 40, y: 40 }, { x: 50, y: 50 }, 4, 1)).toBeNull();
  });
});

/** Sum of something over the straight pieces of a closed line. */
function over(loop: Loop, of: (x0: number, y0: number, x1: number, y1: number) => number): number {
  return loop.reduce((sum, [x, y], at) => sum + of(x, y, ...loop[(at + 1) % loop.length]!), 0);
}

const length = (loop: Loop): number => over(loop, (x0, y0, x1, y1) => Math.abs(x1 - x0) + Math.abs(y1 - y0));
const area = (loop: Loop): number => over(loop, (x0, y0, x1, y1) => (x0 * y1 - x1 * y0) / 2); // holes count negative

describe("an outline", () => {
  it("is as long as the perimeter, and what it encloses is the mask", () => {
    const next = random(8);
    for (const [height, width] of [[1, 1], [1, 8], [12, 9]] as const) {
      const plane = noise(height, width, next, 0.6);
      const at = (x: number, y: number): number => (x < 0 || y < 0 || x >= width || y >= height ? 0 : plane[y * width + x]!);
      let perimeter = 0;
      for (let y = 0; y <= height; y++) for (let x = 0; x <= width; x++) perimeter += Number(at(x, y) !== at(x - 1, y)) + Number(at(x, y) !== at(x, y - 1));
      expect(loops(plane, width).reduce((sum, loop) => sum + length(loop), 0)).toBe(perimeter);
      expect(loops(plane, width).reduce((sum, loop) => sum + area(loop), 0)).toBe(plane.reduce((sum, value) => sum + value, 0));
    }
  });

  it("of one pixel is the square around it", () => {
    const { plane, width } = drawing("...", ".#.", "...");
    expect(loops(plane, width)).toEqual([[[1.5, 0.5], [1.5, 1.5], [0.5, 1.5], [0.5, 0.5]]]);
    expect(bounds(plane, width)).toEqual({ left: 1, top: 1, right: 1, bottom: 1 });
  });

  it("of a ring is two lines, of two pixels that touch at a corner too", () => {
    const ring = drawing("###", "#.#", "###");
    expect(loops(ring.plane, 3).map(area)).toEqual([9, -1]);
    const corner = drawing("#.", ".#");
    expect(loops(corner.plane, 2).map(area)).toEqual([1, 1]);
  });

  it("has the bounds of its mask", () => {
    const { plane, width } = drawing("......", "..#...", "....#.", ".#....", "......");
    expect(bounds(plane, width)).toEqual({ left: 1, top: 1, right: 4, bottom: 3 });
    expect(bounds(new Uint8Array(12), 4)).toBeNull();
  });
});
