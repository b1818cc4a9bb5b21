/** One function a route. A refusal of the server becomes an `ApiError` with its one line. */

import type {
  Annotation, AnnotationDraft, Answer, CaseDetail, CasePage, Health, Job, Model, Prediction, Question, Uploaded,
} from "./types";

const ROOT = "/api/v1";
const TRIES = 4; // of a request that the full pool sent away
const LONGEST_WAIT_S = 10;

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

export interface CaseQuery {
  readonly q: string;
  readonly decision: string;
  readonly review: string;
  readonly sort: string;
  readonly order: string;
  readonly limit: number;
  readonly offset: number;
}

export const url = {
  thumbnail: (id: string): string => `${ROOT}/cases/${id}/thumbnail.png`,
  image: (id: string, variant: "original" | "musica"): string => `${ROOT}/cases/${id}/image.nii.gz?variant=${variant}`,
  map: (prediction: string, kind: "probability" | "uncertainty"): string =>
    `${ROOT}/predictions/${prediction}/${kind}.nii.gz`,
  explanation: (prediction: string): string => `${ROOT}/predictions/${prediction}/explanation.png`,
  predictedMask: (prediction: string, volume: boolean): string =>
    `${ROOT}/predictions/${prediction}/mask.${volume ? "nii.gz" : "png"}`,
  exported: (annotation: string, format: string): string => `${ROOT}/annotations/${annotation}/export?format=${format}`,
  exportAll: (format: string, review: string): string => `${ROOT}/export?format=${format}&review=${review}`,
};

export const api = {
  health: () => json<Health>("GET", "/health"),
  models: () => json<Model[] | { items: Model[] }>("GET", "/models").then((got) => (Array.isArray(got) ? got : got.items)),
  cases: (query: CaseQuery, signal?: AbortSignal) => json<CasePage>("GET", `/cases?${parameters(query)}`, undefined, signal),
  case: (id: string) => json<CaseDetail>("GET", `/cases/${id}`),
  deleteCase: (id: string) => json<void>("DELETE", `/cases/${id}`),
  predict: (id: string) => json<Prediction>("POST", `/cases/${id}/predictions`, {}),
  candidates: (id: string, question: Question, signal: AbortSignal) =>
    json<Answer>("POST", `/cases/${id}/candidates`, question, signal),
  annotation: (id: string) => json<Annotation>("GET", `/annotations/${id}`),
  createAnnotation: (caseId: string, draft: AnnotationDraft) =>
    json<Annotation>("POST", `/cases/${caseId}/annotations`, draft),
  updateAnnotation: (id: string, revision: number, draft: AnnotationDraft) =>
    json<Annotation>("PUT", `/annotations/${id}`, { revision, ...draft }),
  startJob: (cases: readonly string[] | null) => json<Job>("POST", "/jobs", { kind: "predict", cases }),
  jobs: () => json<Job[] | { items: Job[] }>("GET", "/jobs").then((got) => (Array.isArray(got) ? got : got.items)),
  job: (id: string) => json<Job>("GET", `/jobs/${id}`),
  cancelJob: (id: string) => json<Job | void>("DELETE", `/jobs/${id}`),
  importMasks: (files: readonly File[]) => upload<{ imported: number; skipped: Uploaded["skipped"] }>("/import", files),
  addCases: (files: readonly File[], progress?: (share: number) => void) => upload<Uploaded>("/cases", files, progress),
};

export async function bytes(address: string, signal?: AbortSignal): Promise<ArrayBuffer> {
  return (await got(address, signal)).arrayBuffer();
}

/** A file to keep, under the name that the server gives it. */
export async function file(address: string): Promise<File> {
  const response = await got(address);
  const disposition = response.headers.get("Content-Disposition") ?? "";
  const encoded = /filename\*=utf-8''([^;]+)/i.exec(disposition)?.[1];
  const name = encoded ? decodeURIComponent(encoded) : /filename="?([^";]+)/.exec(disposition)?.[1];
  return new File([await response.blob()], name ?? "mask");
}

async function got(address: string, signal?: AbortSignal): Promise<Response> {
  const response = await reached(address, { signal: signal ?? null });
  if (!response.ok) throw await refusal(response);
  return response;
}

async function json<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  for (let tried = 1; ; tried++) {
    const response = await reached(ROOT + path, {
      method,
      signal: signal ?? null,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
    if (response.status === 429 && tried < TRIES) {
      const wait = Math.min(LONGEST_WAIT_S, Number(response.headers.get("Retry-After")) || 1);
      await new Promise((resolve) => setTimeout(resolve, wait * 1000));
      continue;
    }
    if (!response.ok) throw await refusal(response);
    return (response.status === 204 ? undefined : await response.json()) as T;
  }
}

async function reached(address: string, options: RequestInit): Promise<Response> {
  try {
    return await fetch(address, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer; is `tumorscope serve` still running?", 0);
  }
}

async function refusal(response: Response): Promise<ApiError> {
  return new ApiError(message(response.status, await response.text().catch(() => "")), response.status);
}

function message(status: number, text: string): string {
  if (status === 401) return "The server wants its token: open the address with ?token=… that it printed when it started.";
  try {
    const body = JSON.parse(text) as { error?: unknown };
    if (typeof body.error === "string") return body.error;
  } catch {
    // no JSON: the line below says what is known
  }
  return `The server answered ${status}.`;
}

/** `fetch` tells nothing about the progress of an upload, XMLHttpRequest does. */
function upload<T>(path: string, files: readonly File[], progress?: (share: number) => void): Promise<T> {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.webkitRelativePath || file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", ROOT + path);
    request.upload.onprogress = (event) => progress?.(event.lengthComputable ? event.loaded / event.total : 0);
    request.onerror = () => reject(new ApiError("The upload broke off; nothing of it is kept. Try again.", 0));
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(JSON.parse(request.responseText) as T);
      else reject(new ApiError(message(request.status, request.responseText), request.status));
    };
    request.send(form);
  });
}

function parameters(query: CaseQuery): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== "");
  return new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
}
