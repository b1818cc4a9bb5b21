import { describe, expect, it } from "vitest";
import type { Answer, Prediction } from "../src/api/types";
import {
  added, answered, chosen, EMPTY, family, fromAnnotation, fromPrediction, newLesion, NO_PROMPTS, painted, sameMasks, toStored, withLesion, without,
} from "../src/casepage/document";
import { covers, isAway } from "../src/casepage/lesions";
import { total, type Shape } from "../src/core/planes";
import { drawing } from "./drawing";

const SHAPE: Shape = [1, 3, 4];
const small = drawing("....", ".#..", "....").rle;
const large = drawing("....", "###.", "....").rle;
const answer: Answer = {
  engine: "click", engine_version: "1", seconds: 0, embedded: false,
  candidates: [{ mask: large, quality: 0.9, token: "a" }, { mask: small, quality: 0.8, token: "b" }],
};
const predicted = (mask = drawing("##..", "....", "...#").rle): Prediction => ({
  id: "p1", model: "scout", model_version: "1", created: "", decision: "tumor", probability: 1, uncertainty: 0,
  gate: null, notes: [], measurements: {}, mask, slices: null, explainable: false, seconds: 1,
});

describe("a document", () => {
  it("begins with one lesion for each region of the prediction", () => {
    const doc = fromPrediction(predicted(), SHAPE);
    expect(doc.lesions.map((lesion) => [lesion.name, total(lesion.slices), lesion.origin.source])).toEqual([
      ["lesion 1", 2, "model"], ["lesion 2", 1, "model"],
    ]);
    expect(doc.lesions[0]!.origin.prediction).toBe("p1");
    expect(fromPrediction(predicted(drawing("....", "....", "....").rle), SHAPE)).toBe(EMPTY);
  });

  it("keeps masks, prompts and edits through the form that is stored", () => {
    const lesion = answered(newLesion(EMPTY), 0, { ...NO_PROMPTS, points: [{ y: 1, x: 1, positive: true }] }, answer, SHAPE);
    const doc = added(EMPTY, lesion);
    const stored = toStored(doc, SHAPE, false);
    const back = fromAnnotation({ id: "", revision: 1, annotator: "", decision: "open", note: "", modified: "", lesions: stored });
    expect(toStored(back, SHAPE, false)).toEqual(stored);
    expect(sameMasks(doc, back)).toBe(true);
    expect(stored[0]).toMatchObject({ source: "click", engine: "click", candidate: 0, candidates: 2, quality: 0.9, mask: large });
    expect(stored[0]!.edits).toMatchObject([{ kind: "engine", pixels: 3, index: 0 }]);
  });

  it("takes another candidate, once", () => {
    const first = answered(newLesion(EMPTY), 0, NO_PROMPTS, answer, SHAPE);
    const second = chosen(first, 1, SHAPE);
    expect(second.slices.get(0)).toBe(small);
    expect(second.edits.at(-1)).toMatchObject({ kind: "candidate", pixels: 2 });
    expect(chosen(second, 1, SHAPE)).toBe(second);
    expect(chosen(second, 7, SHAPE)).toBe(second);
  });

  it("says that a mask drawn by hand is human, and forgets candidates after a stroke", () => {
    const drawn = painted(newLesion(EMPTY), 0, drawing("#...", "....", "....").plane, "brush", SHAPE);
    expect(drawn.origin.source).toBe("human");
    const after = painted(answered(newLesion(EMPTY), 0, NO_PROMPTS, answer, SHAPE), 0, drawing("#...", "....", "....").plane, "brush", SHAPE);
    expect([after.origin.source, after.asked, after.edits.at(-1)!.kind]).toEqual(["click", null, "brush"]);
    expect(painted(after, 0, drawing("#...", "....", "....").plane, "brush", SHAPE)).toBe(after);
  });

  it("loses the slice that was wiped clean, and never changes what it was before", () => {
    const doc = fromPrediction(predicted(), SHAPE);
    const before = JSON.stringify(toStored(doc, SHAPE, false));
    const wiped = painted(doc.lesions[0]!, 0, new Uint8Array(12), "clear", SHAPE);
    expect(wiped.slices.size).toBe(0);
    expect(withLesion(doc, wiped).lesions).toHaveLength(2);
    expect(without(doc, wiped.id).lesions).toHaveLength(1);
    expect(JSON.stringify(toStored(doc, SHAPE, false))).toBe(before);
  });

  it("knows the family of an engine", () => {
    expect(["sam2.1-hiera-tiny", "sam-vit-base", "medsam", "click", "random-walker"].map(family)).toEqual(["sam2", "sam", "sam", "click", "classical"]);
  });
});

describe("a click", () => {
  const [lesion] = fromPrediction(predicted(drawing("##......", "##......", "........").rle), [1, 3, 8]).lesions;
  it("means the lesion under it", () => {
    expect(covers(lesion!, 0, { x: 1.3, y: 0.6 })).toBe(true);
    expect(covers(lesion!, 0, { x: 2, y: 0 })).toBe(false);
    expect(covers(lesion!, 1, { x: 1, y: 0 })).toBe(false);
  });
  it("means another one where it lies away", () => {
    expect(isAway(lesion!, 0, { x: 5, y: 2 })).toBe(false);
    expect(isAway(lesion!, 0, { x: 7, y: 2 })).toBe(true);
    expect(isAway(lesion!, 1, { x: 7, y: 2 })).toBe(false);
  });
});
