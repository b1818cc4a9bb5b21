import { describe, expect, it } from "vitest";
import { History } from "../src/core/history";
import { random } from "./drawing";

describe("history", () => {
  it("takes back every step, a thousand of them, and does each again", () => {
    const history = new History(0);
    for (let step = 1; step <= 1000; step++) history.push(step, `step ${step}`);
    for (let step = 999; step >= 0; step--) {
      expect(history.undo()).toBe(true);
      expect(history.state).toBe(step);
    }
    expect(history.undo()).toBe(false);
    for (let step = 1; step <= 1000; step++) {
      expect(history.redo()).toBe(true);
      expect(history.state).toBe(step);
    }
    expect(history.redo()).toBe(false);
  });

  it("forgets what was undone when something else is done", () => {
    const history = new History("a");
    history.push("b", "to b");
    history.undo();
    history.push("c", "to c");
    expect([history.redoLabel, history.undoLabel]).toEqual([null, "to c"]);
  });

  it("is a stack: undo after do is the identity, redo after undo too", () => {
    const next = random(3);
    const history = new History(0);
    for (let step = 1; step < 500; step++) {
      const before = history.state;
      if (next() < 0.5) {
        history.push(step, "push");
        history.undo();
        expect(history.state).toBe(before);
        history.redo();
      } else if (history.undo()) {
        history.redo();
        expect(history.state).toBe(before);
        history.undo();
      }
    }
  });

  it("does not count an action that changed nothing", () => {
    const state = {};
    const history = new History(state);
    history.push(state, "nothing");
    expect(history.undoLabel).toBeNull();
  });
});
