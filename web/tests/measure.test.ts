import { describe, expect, it } from "vitest";
import { hull, measure, type Measurements } from "../src/core/measure";
import { fromRle, union } from "../src/core/planes";
import { splitRegions } from "../src/core/regions";
import { isVolume, type Rle, type VolumeRle } from "../src/core/rle";
import { drawing } from "./drawing";
import rows from "./fixtures/measurements.json";

interface Row {
  readonly mask: Rle | VolumeRle;
  readonly spacing: readonly number[] | null;
  readonly expected: Measurements;
}

describe("measurements", () => {
  it.each(rows as unknown as Row[])("are the server's own, mask %#", ({ mask, spacing, expected }) => {
    const found = measure(fromRle(mask), spacing, isVolume(mask));
    for (const [name, value] of Object.entries(expected) as [keyof Measurements, number | null][]) {
      if (value === null) expect(found[name], name).toBeNull();
      else expect(found[name], name).toBeCloseTo(value, 6);
    }
  });

  it("of a row of four pixels: four long, one region", () => {
    const found = measure(new Map([[0, drawing(".####.").rle]]), [1, 0.5], false);
    expect(found).toMatchObject({ lesions: 1, area_px: 4, area_mm2: 2, diameter_px: 4, volume_mm3: null });
  });

  it("of nothing are zero", () => {
    expect(measure(new Map(), null, false)).toMatchObject({ lesions: 0, area_px: 0, diameter_px: 0, area_mm2: null });
  });
});

describe("regions", () => {
  it("touch at corners, within a slice and between slices", () => {
    const slices = new Map([[4, drawing("#..", "...", "..#").rle], [5, drawing("...", ".#.", "...").rle]]);
    expect(splitRegions(slices, [9, 3, 3])).toHaveLength(1);
    const apart = new Map([[4, drawing("#..", "...", "..#").rle], [6, drawing("...", ".#.", "...").rle]]);
    expect(splitRegions(apart, [9, 3, 3])).toHaveLength(3);
  });

  it("come largest first and make up the whole mask", () => {
    const whole = new Map([[0, drawing("##...#", "##....", "......", "#####.").rle]]);
    const parts = splitRegions(whole, [1, 4, 6]);
    expect(parts.map((part) => measure(part, null, false).area_px)).toEqual([5, 4, 1]);
    expect(union(parts)).toEqual(whole);
  });
});

describe("the hull", () => {
  it("keeps the corners of a square and drops what lies within or on its edges", () => {
    const points = [[0, 0], [2, 0], [0, 2], [2, 2], [1, 1], [1, 0]] as [number, number][];
    expect(hull(points)).toHaveLength(4);
  });
  it("of one point is that point", () => {
    expect(hull([[3, 4]])).toEqual([[3, 4]]);
    expect(hull([[3, 4], [3, 4], [3, 4]])).toEqual([[3, 4]]);
  });
});
