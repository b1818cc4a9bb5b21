/** Keeping annotations on the server: save, decide, export, and what to do when someone else saved in between. */

import { api, ApiError, file, url } from "../api/client";
import type { Annotation, AnnotationDraft, Review } from "../api/types";
import { ask } from "../app/dialog";
import { complain, say } from "../app/notices";
import { remembered } from "../app/signal";
import type { Asking } from "./asking";
import { fromAnnotation, fromPrediction, toStored } from "./document";
import type { CaseState } from "./state";

export const annotator = remembered<string>("annotator", "");
const KEPT_MS = 10_000; // a download, until the browser has surely taken it

export class Saving {
  private running: Promise<boolean> | null = null;

  constructor(
    private readonly state: CaseState,
    private readonly asking: Asking,
  ) {}

  /** Saves with that decision, or with the one that stands, after what is being saved already. Whether it is kept. */
  save(decision: Review = this.state.decision.value): Promise<boolean> {
    const mine: Promise<boolean> = (this.running ?? Promise.resolve(true))
      .then(() => this.store(decision))
      .finally(() => {
        if (this.running === mine) this.running = null;
      });
    this.running = mine;
    return mine;
  }

  /** The prediction as it is, without a change by hand. */
  async accept(): Promise<boolean> {
    if (!this.state.prediction.value) {
      say("There is no prediction to accept yet: predict first, or draw and save as corrected.", "error");
      return false;
    }
    if (!this.state.untouched()) {
      say("The masks are no longer the prediction's own: save as corrected, or undo the changes.", "error");
      return false;
    }
    return this.save("accepted");
  }

  async download(format: string): Promise<void> {
    if ((this.state.dirty.value || !this.state.annotation.value) && !(await this.save())) return;
    try {
      const content = await file(url.exported(this.state.annotation.value!.id, format));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(content);
      link.download = content.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
    } catch (error) {
      complain(error);
    }
  }

  private async store(decision: Review): Promise<boolean> {
    const { state } = this;
    await this.asking.settled();
    const [doc, note] = [state.doc.value, state.note.value];
    const draft: AnnotationDraft = {
      annotator: annotator.value.trim(),
      decision: decision === "accepted" && !state.untouched() ? "corrected" : decision,
      note,
      lesions: toStored(doc, state.shape, state.volume),
    };
    try {
      const stored = await this.send(draft);
      if (!stored) return false;
      state.stored(stored, doc, note);
      return true;
    } catch (error) {
      complain(error);
      return false;
    }
  }

  private async send(draft: AnnotationDraft): Promise<Annotation | null> {
    const kept = this.state.annotation.value;
    const someoneElses = kept !== null && kept.annotator !== "" && kept.annotator !== draft.annotator;
    if (!kept || someoneElses) return api.createAnnotation(this.state.scan.id, draft);
    try {
      return await api.updateAnnotation(kept.id, kept.revision, draft);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 409)) throw error;
      return this.settle(kept.id, draft);
    }
  }

  /** Two people, or two tabs, saved the same annotation. */
  private async settle(id: string, draft: AnnotationDraft): Promise<Annotation | null> {
    const theirs = await api.annotation(id);
    const choice = await ask(
      "Saved by someone else meanwhile",
      `${theirs.annotator || "Someone"} saved revision ${theirs.revision} of this annotation after you had opened it. ` +
        "Nothing of yours is lost yet: keep your version in its place, or load theirs and drop yours.",
      [
        { text: "Keep mine", value: "mine", kind: "danger" },
        { text: "Load theirs", value: "theirs" },
        { text: "Decide later", value: "later" },
      ] as const,
    );
    if (choice === "mine") return api.updateAnnotation(id, theirs.revision, draft);
    if (choice === "theirs") {
      this.state.annotation.value = theirs;
      this.state.decision.value = theirs.decision;
      this.state.restart(fromAnnotation(theirs), theirs.note);
    }
    return null;
  }
}

/** A new prediction; on a case that nobody touched it becomes what there is to correct. */
export async function predict(state: CaseState): Promise<void> {
  const fresh = !state.annotation.value && !state.dirty.value;
  state.busy.value = "The model reads the scan";
  try {
    const prediction = await api.predict(state.scan.id);
    state.prediction.value = prediction;
    state.maps.probability.value = state.maps.uncertainty.value = state.explanation.value = null;
    const begun = state.annotation.value || state.dirty.value || state.stroke.value || state.pending.value;
    if (fresh && !begun) {
      state.restart(fromPrediction(prediction, state.shape));
      if (state.volume) state.goTo(state.bestSlice());
    }
  } catch (error) {
    complain(error);
  } finally {
    state.busy.value = null;
  }
}
