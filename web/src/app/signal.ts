/** A value that tells its readers when it changes. */

export class Signal<T> {
  private readonly readers = new Set<(value: T) => void>();

  constructor(private current: T) {}

  get value(): T {
    return this.current;
  }

  set value(next: T) {
    if (Object.is(next, this.current)) return;
    this.current = next;
    for (const read of [...this.readers]) read(next);
  }

  /** Calls `read` now and at each change, until `until` is aborted. */
  watch(read: (value: T) => void, until?: AbortSignal): void {
    this.follow(read, until);
    read(this.current);
  }

  /** Calls `read` at each change only. */
  follow(read: (value: T) => void, until?: AbortSignal): void {
    if (until?.aborted) return;
    this.readers.add(read);
    until?.addEventListener("abort", () => this.readers.delete(read), { once: true });
  }
}

/** A signal that the browser remembers; anything unreadable counts as never stored. */
export function remembered<T extends string | number | boolean>(name: string, first: T): Signal<T> {
  const key = `tumorscope.${name}`;
  const signal = new Signal<T>(first);
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(key) ?? "null");
    if (typeof stored === typeof first) signal.value = stored as T;
  } catch {
    // the first value stands
  }
  signal.follow((value) => {
    try {
      localStorage.setItem(key, JSON.stringify(value));
    } catch {
      // private windows forbid it: the setting lasts as long as the page
    }
  });
  return signal;
}
