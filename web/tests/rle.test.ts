import { describe, expect, it } from "vitest";
import { area, decode, encode, sameRle } from "../src/core/rle";
import { drawing, noise, random } from "./drawing";

describe("run lengths", () => {
  it("go down the columns and begin with background", () => {
    expect(drawing(".#", "##", "..").rle).toEqual({ size: [3, 2], counts: [1, 1, 1, 2, 1] });
    expect(drawing("#.", "..").rle.counts).toEqual([0, 1, 3]);
  });

  it("come back as the mask they were made of, at odd sizes too", () => {
    const next = random(1);
    for (const [height, width] of [[1, 1], [1, 9], [9, 1], [13, 7], [32, 45]] as const) {
      for (const density of [0, 0.1, 0.5, 1]) {
        const plane = noise(height, width, next, density);
        const rle = encode(plane, height, width);
        expect(decode(rle)).toEqual(plane);
        expect(area(rle)).toBe(plane.reduce((sum, value) => sum + value, 0));
      }
    }
  });

  it("that do not add up are refused", () => {
    expect(() => decode({ size: [2, 2], counts: [1, 2] })).toThrow("add up");
    expect(() => decode({ size: [2, 2], counts: [1, 4] })).toThrow("add up");
    expect(() => decode({ size: [2, 2], counts: [5, -1] })).toThrow("add up");
    expect(() => decode({ size: [1e6, 1e6], counts: [1e12] })).toThrow("no size");
    expect(() => encode(new Uint8Array(3), 2, 2)).toThrow("3 pixels");
  });

  it("are the same where the masks are, an empty one included", () => {
    const one = drawing("#.", ".#").rle;
    expect(sameRle(one, drawing("#.", ".#").rle)).toBe(true);
    expect(sameRle(one, drawing("#.", "..").rle)).toBe(false);
    expect(sameRle(undefined, drawing("..", "..").rle)).toBe(true);
    expect(sameRle(undefined, one)).toBe(false);
  });
});
