/** Prompts to the engine and its candidates back, one question at a time. */

import { api } from "../api/client";
import type { BoxPrompt, Prompts } from "../api/types";
import { complain } from "../app/notices";
import type { Spot } from "../core/paint";
import { addLesion, covers, isAway } from "./lesions";
import { answered, chosen, NO_PROMPTS, withLesion, type Lesion } from "./document";
import type { CaseState } from "./state";

export class Asking {
  private last: Promise<void> = Promise.resolve();
  private stop = new AbortController();

  constructor(private readonly state: CaseState) {}

  click(spot: Spot, positive: boolean): void {
    this.aim(spot, positive);
    this.ask(
      (prompts) => ({ ...prompts, points: [...prompts.points, { ...spot, positive }] }),
      positive ? "positive click" : "negative click",
    );
  }

  scribble(path: readonly Spot[], positive: boolean): void {
    const line = { path: path.map(({ x, y }) => [y, x] as const), positive };
    this.ask((prompts) => ({ ...prompts, scribbles: [...prompts.scribbles, line] }), "scribble");
  }

  /** A box begins the lesion anew on this slice: what the mask was before does not bias the answer. */
  box(box: BoxPrompt): void {
    this.ask(() => ({ ...NO_PROMPTS, box }), "box", true);
  }

  choose(number: number): void {
    const lesion = this.state.activeLesion();
    if (!lesion?.asked) return;
    const next = chosen(lesion, number, this.state.shape);
    if (next !== lesion) this.state.push(withLesion(this.state.doc.value, next), `candidate ${number + 1}`);
  }

  /** Forgets what is on its way. */
  cancel(): void {
    this.stop.abort();
    this.stop = new AbortController();
    this.state.pending.value = null;
    this.state.busy.value = null;
  }

  /** Resolves when nothing is on its way any more. */
  settled(): Promise<void> {
    return this.last;
  }

  /** Which lesion a click means: the one under it, or a new one where it lies away from a mask that no click made. */
  private aim(spot: Spot, positive: boolean): void {
    const { state } = this;
    const index = state.index.value;
    const under = state.doc.value.lesions.find((lesion) => !state.hidden.value.has(lesion.id) && covers(lesion, index, spot));
    const active = state.activeLesion();
    if (under) state.active.value = under.id;
    else if (positive && active && !active.prompts.has(index) && isAway(active, index, spot)) addLesion(state);
  }

  private ask(change: (prompts: Prompts) => Prompts, label: string, anew = false): void {
    const { signal } = this.stop;
    const { state } = this;
    const meant = { index: state.index.value, engine: state.engine.value, lesion: state.activeLesion()?.id ?? null };
    this.last = this.last.then(() => (signal.aborted ? undefined : this.send(change, label, anew, meant, signal)));
  }

  /** Asks what was meant when the pointer was released, wherever the page has gone since. */
  private async send(
    change: (before: Prompts) => Prompts,
    label: string,
    anew: boolean,
    meant: { readonly index: number; readonly engine: string; readonly lesion: string | null },
    signal: AbortSignal,
  ): Promise<void> {
    const { state } = this;
    const { index, engine } = meant;
    const held = (id: string): Lesion | undefined => state.doc.value.lesions.find((one) => one.id === id);
    const lesion = meant.lesion === null ? state.lesionToDraw() : held(meant.lesion);
    if (!lesion) return; // deleted while this waited
    const known = held(lesion.id) !== undefined;
    const prompts = change(lesion.prompts.get(index) ?? NO_PROMPTS);
    const asked = lesion.asked?.index === index && lesion.asked.engine === engine ? lesion.asked : null;
    state.pending.value = prompts;
    state.busy.value = `${engine} works`;
    try {
      const answer = await api.candidates(
        state.scan.id,
        {
          engine, axis: 0, index, prompts,
          previous: anew ? null : (lesion.slices.get(index) ?? null),
          previous_token: anew ? null : (asked?.candidates[asked.chosen]?.token ?? null),
        },
        signal,
      );
      if (signal.aborted) return;
      const now = held(lesion.id) ?? (known ? null : lesion);
      if (!now) return;
      state.push(withLesion(state.doc.value, answered(now, index, prompts, answer, state.shape)), label);
      if (!known) state.active.value = lesion.id;
    } catch (error) {
      complain(error);
    } finally {
      if (!signal.aborted) {
        state.pending.value = null;
        state.busy.value = null;
      }
    }
  }
}
