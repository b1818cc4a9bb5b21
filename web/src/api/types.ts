/** What the server says and wants to hear: /api/v1. Times are ISO-8601 in UTC, ids are opaque. */

import type { Rle, VolumeRle } from "../core/rle";

export type Mask = Rle | VolumeRle;
export type Review = "open" | "accepted" | "corrected" | "rejected";
export type Outcome = "tumor" | "no_tumor" | "uncertain" | "not_brain_mri";
export type Source = "human" | "sam" | "sam2" | "click" | "classical" | "model" | "import";

export interface Health {
  readonly version: string;
  readonly torch: boolean;
}

export interface Model {
  readonly name: string;
  readonly kind: "bundle" | "engine";
  readonly available: boolean;
  readonly reason: string | null;
  readonly default: boolean;
  readonly prompts?: readonly string[];
}

export interface Case {
  readonly id: string;
  readonly name: string;
  readonly added: string;
  readonly shape: readonly number[];
  readonly axes: "YX" | "ZYX";
  readonly spacing: readonly number[] | null;
  readonly unit: "mm" | "px";
  readonly modality: string | null;
  readonly decision: Outcome | null;
  readonly probability: number | null;
  readonly lesions: number | null;
  readonly review: Review;
  readonly annotation_id: string | null;
}

export interface CasePage {
  readonly items: readonly Case[];
  readonly total: number;
  readonly counts: { readonly review?: Partial<Record<Review, number>> };
}

export interface CaseDetail extends Case {
  readonly prediction: Prediction | null;
}

export interface Prediction {
  readonly id: string;
  readonly model: string;
  readonly model_version: string;
  readonly created: string;
  readonly decision: Outcome | null;
  readonly probability: number | null;
  readonly uncertainty: number | null;
  readonly gate: { readonly passed: boolean | null; readonly score?: number | null; readonly reason?: string | null } | null;
  readonly notes: readonly string[];
  readonly measurements: Partial<Record<string, number | null>>;
  readonly mask: Mask | null;
  readonly slices: readonly (number | null)[] | null;
  readonly explainable: boolean; // Grad-CAM can be asked for
  readonly seconds: number | null;
}

export interface PointPrompt {
  readonly y: number;
  readonly x: number;
  readonly positive: boolean;
}

export interface BoxPrompt {
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
}

export interface ScribblePrompt {
  readonly path: readonly (readonly [y: number, x: number])[];
  readonly positive: boolean;
}

export interface Prompts {
  readonly points: readonly PointPrompt[];
  readonly box: BoxPrompt | null;
  readonly scribbles: readonly ScribblePrompt[];
}

export interface Candidate {
  readonly mask: Rle;
  readonly quality: number | null;
  readonly token: string | null;
}

export interface Answer {
  readonly engine: string;
  readonly engine_version: string;
  readonly checkpoint_sha256?: string | null;
  readonly seconds: number;
  readonly embedded: boolean;
  readonly candidates: readonly Candidate[];
}

export interface Question {
  readonly engine: string;
  readonly axis: 0;
  readonly index: number;
  readonly prompts: Prompts;
  readonly previous: Rle | null;
  readonly previous_token: string | null;
}

export interface Edit {
  readonly kind: "brush" | "erase" | "engine" | "candidate" | "import" | "clear";
  readonly time: string;
  readonly axis: 0;
  readonly index: number;
  readonly pixels: number;
  readonly detail: Readonly<Record<string, unknown>>;
}

export interface StoredLesion {
  readonly id: string;
  readonly name: string;
  readonly tumor_type: string | null;
  readonly mask: Mask;
  readonly source: Source;
  readonly engine: string | null;
  readonly engine_version: string | null;
  readonly checkpoint_sha256: string | null;
  readonly prompts: readonly { readonly axis: 0; readonly index: number; readonly prompts: Prompts }[];
  readonly candidate: number | null;
  readonly candidates: number;
  readonly quality: number | null;
  readonly model_prediction: string | null;
  readonly started: string;
  readonly finished: string;
  readonly edits: readonly Edit[];
}

export interface Annotation {
  readonly id: string;
  readonly revision: number;
  readonly annotator: string;
  readonly decision: Review;
  readonly note: string;
  readonly modified: string;
  readonly lesions: readonly StoredLesion[];
}

export interface AnnotationDraft {
  readonly annotator: string;
  readonly decision: Review;
  readonly note: string;
  readonly lesions: readonly StoredLesion[];
}

export interface Uploaded {
  readonly created: readonly Case[];
  readonly skipped: readonly { readonly name: string; readonly error: string }[];
}

export interface Job {
  readonly id: string;
  readonly kind: string;
  readonly state: "waiting" | "running" | "done" | "failed" | "cancelled";
  readonly total: number;
  readonly done: number;
  readonly failed: number;
  readonly errors: readonly { readonly case: string; readonly error: string }[];
}
