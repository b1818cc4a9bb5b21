/** What a person made of one scan, as immutable values: the history keeps them, the server stores them. */

import type { Annotation, Answer, Candidate, Edit, Prediction, Prompts, Source, StoredLesion } from "../api/types";
import { fromRle, pixels, toRle, withSlice, type Shape, type Slices } from "../core/planes";
import { encode, sameRle, type Plane, type Rle } from "../core/rle";
import { changed } from "../core/paint";
import { splitRegions } from "../core/regions";

/** The engine's last answer, from which a candidate can be chosen as long as nothing else was done to the slice. */
export interface Asked {
  readonly index: number;
  readonly engine: string;
  readonly candidates: readonly Candidate[];
  readonly chosen: number;
}

/** Who or what made the mask. */
export interface Origin {
  readonly source: Source;
  readonly engine: string | null;
  readonly version: string | null;
  readonly checkpoint: string | null;
  readonly candidate: number | null;
  readonly candidates: number;
  readonly quality: number | null;
  readonly prediction: string | null;
}

export interface Lesion {
  readonly id: string;
  readonly name: string;
  readonly tumorType: string | null;
  readonly slices: Slices;
  readonly prompts: ReadonlyMap<number, Prompts>;
  readonly asked: Asked | null;
  readonly origin: Origin;
  readonly started: string;
  readonly finished: string;
  readonly edits: readonly Edit[];
}

export interface Doc {
  readonly lesions: readonly Lesion[];
}

export const EMPTY: Doc = { lesions: [] };
export const NO_PROMPTS: Prompts = { points: [], box: null, scribbles: [] };
const BY_HAND: Origin = {
  source: "human", engine: null, version: null, checkpoint: null,
  candidate: null, candidates: 0, quality: null, prediction: null,
};
const MOST_SEEDS = 12; // regions of a prediction that become lesions of their own; beyond, they are one lesion

const now = (): string => new Date().toISOString();

export function newLesion(doc: Doc, slices: Slices = new Map(), origin: Origin = BY_HAND): Lesion {
  const taken = new Set(doc.lesions.map((lesion) => lesion.name));
  let number = doc.lesions.length + 1;
  while (taken.has(`lesion ${number}`)) number++;
  const time = now();
  return {
    id: crypto.randomUUID ? crypto.randomUUID().slice(0, 8) : Math.random().toString(36).slice(2, 10),
    name: `lesion ${number}`,
    tumorType: null,
    slices,
    prompts: new Map(),
    asked: null,
    origin,
    started: time,
    finished: time,
    edits: [],
  };
}

/** The prediction's regions as lesions to begin with. */
export function fromPrediction(prediction: Prediction | null, shape: Shape): Doc {
  if (!prediction?.mask) return EMPTY;
  const slices = fromRle(prediction.mask);
  if (slices.size === 0) return EMPTY;
  const origin: Origin = {
    ...BY_HAND, source: "model", engine: prediction.model, version: prediction.model_version, prediction: prediction.id,
  };
  const regions = splitRegions(slices, shape);
  const seeds = regions.length > MOST_SEEDS ? [slices] : regions;
  return seeds.reduce<Doc>((doc, seed) => added(doc, newLesion(doc, seed, origin)), EMPTY);
}

export function fromAnnotation(annotation: Annotation): Doc {
  return { lesions: annotation.lesions.map(fromStored) };
}

function fromStored(stored: StoredLesion): Lesion {
  return {
    id: stored.id,
    name: stored.name,
    tumorType: stored.tumor_type,
    slices: fromRle(stored.mask),
    prompts: new Map(stored.prompts.map((one) => [one.index, one.prompts])),
    asked: null,
    origin: {
      source: stored.source, engine: stored.engine, version: stored.engine_version,
      checkpoint: stored.checkpoint_sha256, candidate: stored.candidate, candidates: stored.candidates,
      quality: stored.quality, prediction: stored.model_prediction,
    },
    started: stored.started,
    finished: stored.finished,
    edits: stored.edits,
  };
}

export function toStored(doc: Doc, shape: Shape, volume: boolean): StoredLesion[] {
  return doc.lesions.map((lesion) => ({
    id: lesion.id,
    name: lesion.name,
    tumor_type: lesion.tumorType,
    mask: toRle(lesion.slices, shape, volume),
    source: lesion.origin.source,
    engine: lesion.origin.engine,
    engine_version: lesion.origin.version,
    checkpoint_sha256: lesion.origin.checkpoint,
    prompts: [...lesion.prompts].map(([index, prompts]) => ({ axis: 0 as const, index, prompts })),
    candidate: lesion.origin.candidate,
    candidates: lesion.origin.candidates,
    quality: lesion.origin.quality,
    model_prediction: lesion.origin.prediction,
    started: lesion.started,
    finished: lesion.finished,
    edits: lesion.edits,
  }));
}

export function added(doc: Doc, lesion: Lesion): Doc {
  return { lesions: [...doc.lesions, lesion] };
}

export function without(doc: Doc, id: string): Doc {
  return { lesions: doc.lesions.filter((lesion) => lesion.id !== id) };
}

/** The document with that lesion in place of the one of its id, or at the end where there is none. */
export function withLesion(doc: Doc, lesion: Lesion): Doc {
  if (!doc.lesions.some((one) => one.id === lesion.id)) return added(doc, lesion);
  return { lesions: doc.lesions.map((one) => (one.id === lesion.id ? lesion : one)) };
}

export function plane(lesion: Lesion | null, index: number, shape: Shape): Plane {
  const rle = lesion?.slices.get(index);
  return rle ? pixels(rle) : new Uint8Array(shape[1] * shape[2]);
}

/** The lesion after a stroke, or itself where no pixel changed. */
export function painted(lesion: Lesion, index: number, after: Plane, kind: "brush" | "erase" | "clear", shape: Shape): Lesion {
  const count = changed(plane(lesion, index, shape), after);
  if (count === 0) return lesion;
  const drawn = lesion.slices.size === 0 && lesion.edits.length === 0;
  const prompts = new Map(lesion.prompts);
  if (kind === "clear") prompts.delete(index);
  return {
    ...edited(lesion, { kind, index, pixels: count, detail: {} }),
    slices: withSlice(lesion.slices, index, encode(after, shape[1], shape[2])),
    prompts,
    asked: null,
    origin: drawn ? BY_HAND : lesion.origin,
  };
}

/** The lesion after the engine's answer, its best candidate chosen. */
export function answered(lesion: Lesion, index: number, prompts: Prompts, answer: Answer, shape: Shape): Lesion {
  const asked: Asked = { index, engine: answer.engine, candidates: answer.candidates, chosen: 0 };
  const origin: Origin = {
    ...lesion.origin,
    source: family(answer.engine),
    engine: answer.engine,
    version: answer.engine_version,
    checkpoint: answer.checkpoint_sha256 ?? null,
  };
  const marked = { ...lesion, origin, prompts: new Map(lesion.prompts).set(index, prompts) };
  return taking(marked, asked, "engine", { engine: answer.engine }, shape);
}

export function chosen(lesion: Lesion, number: number, shape: Shape): Lesion {
  const asked = lesion.asked;
  if (!asked || number === asked.chosen || !asked.candidates[number]) return lesion;
  return taking(lesion, { ...asked, chosen: number }, "candidate", { candidate: number }, shape);
}

function taking(lesion: Lesion, asked: Asked, kind: "engine" | "candidate", detail: Edit["detail"], shape: Shape): Lesion {
  const candidate = asked.candidates[asked.chosen];
  if (!candidate) return lesion;
  const before = plane(lesion, asked.index, shape);
  return {
    ...edited(lesion, { kind, index: asked.index, pixels: changed(before, pixels(candidate.mask)), detail }),
    slices: withSlice(lesion.slices, asked.index, candidate.mask),
    asked,
    origin: {
      ...lesion.origin,
      candidate: asked.chosen,
      candidates: asked.candidates.length,
      quality: candidate.quality,
    },
  };
}

function edited(lesion: Lesion, edit: Omit<Edit, "time" | "axis">): Lesion {
  const time = now();
  const finished = lesion.started && Date.parse(lesion.started) > Date.parse(time) ? lesion.started : time; // clocks differ
  return { ...lesion, finished, edits: [...lesion.edits, { ...edit, axis: 0, time }] };
}

/** The word for an engine in a mask's provenance. */
export function family(engine: string): Source {
  if (engine.startsWith("sam2")) return "sam2";
  if (engine.includes("sam")) return "sam";
  return engine.startsWith("click") ? "click" : "classical";
}

/** Whether both hold the same masks, lesion by lesion; names do not count. */
export function sameMasks(a: Doc, b: Doc): boolean {
  return (
    a.lesions.length === b.lesions.length &&
    a.lesions.every((lesion, number) => sameSlices(lesion.slices, b.lesions[number]!.slices))
  );
}

function sameSlices(a: Slices, b: Slices): boolean {
  return a === b || (a.size === b.size && [...a].every(([index, rle]: [number, Rle]) => sameRle(rle, b.get(index))));
}

