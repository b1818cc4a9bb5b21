/** Line drawings on a 24 by 24 grid. They are never the only name of a button. */

const PATHS = {
  positive: "M12 5v14M5 12h14",
  negative: "M5 12h14",
  box: "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4",
  scribble: "M4 17c3-9 6-9 6-3s4 6 5-1 3-8 5-8",
  brush: "M14 6l4 4-8 8H6v-4zM13 7l4 4",
  eraser: "M4 15l9-9 6 6-8 8H8zM9 10l6 6M8 20h12",
  hand: "M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3",
  levels: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  undo: "M9 14L4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3",
  redo: "M15 14l5-5-5-5M20 9H10a6 6 0 0 0 0 12h3",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5M9 9h6v6H9z",
  single: "M4 5h16v14H4z",
  split: "M4 5h16v14H4zM12 5v14",
  planes: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM16.5 13v7M13 16.5h7",
  back: "M14 6l-6 6 6 6",
  next: "M10 6l6 6-6 6",
  help: "M9 9a3 3 0 1 1 4 3c-.8.5-1 1-1 2M12 17.5v.5",
  theme: "M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z",
  upload: "M12 16V4M7 9l5-5 5 5M4 16v4h16v-4",
  download: "M12 4v12M7 11l5 5 5-5M4 18v2h16v-2",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5",
  hidden: "M4 4l16 16M9 6a10 10 0 0 1 3-.5c6 0 9.5 6.5 9.5 6.5a16 16 0 0 1-3 3.700M6 8a15 15 0 0 0-3.5 4S6 18.5 12 18.5c1.300 0 2.5-.3 3.600-.8",
  bin: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v5M14 11v5",
  plus: "M12 6v12M6 12h12",
  play: "M8 5l11 7-11 7z",
  check: "M5 12.5l5 5L20 7",
  cross: "M6 6l12 12M18 6L6 18",
  pen: "M14 6l4 4-8 8H6v-4z",
  save: "M5 4h11l3 3v13H5zM8 4v5h7V4M8 20v-6h8v6",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M15.5 15.5L20 20",
} as const;

export type IconName = keyof typeof PATHS;

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
