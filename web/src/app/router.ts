/** Addresses behind the `#`: the work list, or one case. A page may ask to be left only after a question. */

export type Route = { readonly page: "list" } | { readonly page: "case"; readonly id: string };
type Guard = () => boolean | Promise<boolean>;

let guard: Guard | null = null;
let shown = "";

export function parse(hash: string): Route {
  const found = /^#\/case\/([^/?]+)$/.exec(hash);
  return found ? { page: "case", id: decodeURIComponent(found[1]!) } : { page: "list" };
}

export const address = { list: "#/", case: (id: string): string => `#/case/${encodeURIComponent(id)}` };

export function go(hash: string): void {
  location.hash = hash;
}

/** `may` decides whether the page may be left; the page after it starts without a guard. */
export function guardWith(may: Guard): void {
  guard = may;
}

export function start(show: (route: Route) => void): void {
  let asking = false;
  const arrive = async (): Promise<void> => {
    const wanted = location.hash;
    if (wanted === shown) return;
    if (guard) {
      history.replaceState(null, "", shown || "#/"); // the address of what is seen, until it is left
      if (asking) return;
      asking = true;
      const left = await guard();
      asking = false;
      if (!left) return;
      history.replaceState(null, "", wanted);
    }
    guard = null;
    shown = wanted;
    show(parse(wanted));
  };
  window.addEventListener("hashchange", () => void arrive());
  shown = location.hash;
  show(parse(location.hash));
}
