/** Undo and redo over immutable states: every tool pushes the state it made, and nothing else needs to know how. */

export class History<State> {
  private states: { state: State; label: string }[];
  private at = 0;

  constructor(first: State) {
    this.states = [{ state: first, label: "" }];
  }

  get state(): State {
    return this.states[this.at]!.state;
  }

  /** What undo would take back, or null. */
  get undoLabel(): string | null {
    return this.at > 0 ? this.states[this.at]!.label : null;
  }

  get redoLabel(): string | null {
    return this.states[this.at + 1]?.label ?? null;
  }

  /** The state after an action; what was undone before is forgotten. */
  push(state: State, label: string): void {
    if (state === this.state) return;
    this.states.length = this.at + 1;
    this.states.push({ state, label });
    this.at++;
  }

  undo(): boolean {
    if (this.at === 0) return false;
    this.at--;
    return true;
  }

  redo(): boolean {
    if (this.at + 1 === this.states.length) return false;
    this.at++;
    return true;
  }
}
