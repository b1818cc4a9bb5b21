/** Predictions of many scans in the background, their progress and what failed. */

import { api } from "../api/client";
import type { Job } from "../api/types";
import { fill, h } from "../app/dom";
import { complain, say } from "../app/notices";
import { counted } from "../app/wording";

const POLL_MS = 700;

export class Jobs {
  readonly element = h("div", { class: "jobs", "aria-live": "polite" });
  private readonly followed = new Set<string>();

  constructor(
    private readonly changed: () => void,
    private readonly until: AbortSignal,
  ) {
    void api.jobs().then((jobs) => jobs.filter(going).forEach((job) => void this.follow(job)), complain);
  }

  async predict(cases: readonly string[] | null): Promise<void> {
    try {
      const job = await api.startJob(cases);
      if (job.total === 0) say("Every scan has a prediction already.");
      else void this.follow(job);
    } catch (error) {
      complain(error);
    }
  }

  private async follow(first: Job): Promise<void> {
    if (this.followed.has(first.id)) return;
    this.followed.add(first.id);
    const row = h("div", { class: "progress-line" });
    this.element.append(row);
    let job = first;
    try {
      while (going(job) && !this.until.aborted) {
        this.show(row, job);
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        const before = job.done;
        job = await api.job(job.id);
        if (job.done !== before) this.changed();
      }
      if (!this.until.aborted) this.report(job);
    } catch (error) {
      complain(error);
    } finally {
      row.remove();
      this.changed();
    }
  }

  private show(row: HTMLElement, job: Job): void {
    const ready = job.done + job.failed;
    fill(
      row,
      h("span", {}, `Predicting: ${ready} of ${job.total}${job.failed ? `, ${job.failed} failed` : ""}`),
      h("progress", { max: Math.max(1, job.total), value: ready, "aria-label": "Batch prediction" }),
      h("button", { class: "small", onclick: () => void api.cancelJob(job.id).catch(complain) }, "Cancel"),
    );
  }

  private report(job: Job): void {
    if (job.state === "cancelled") say(`Stopped after ${counted(job.done, "prediction")}; what is done is kept.`);
    else if (job.failed) say(`${counted(job.failed, "scan")} failed: ${job.errors[0]?.error ?? "no reason given"}`, "error");
    else say(`${counted(job.done, "prediction")} done.`);
  }
}

function going(job: Job): boolean {
  return job.state === "waiting" || job.state === "running";
}
