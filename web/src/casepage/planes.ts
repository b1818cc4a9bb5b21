/** Three planes and a rendering of a volume by NiiVue, with the lesions on them; a click there moves the slice. */

import type { Niivue, NVImage } from "@niivue/niivue";
import { fill, h } from "../app/dom";
import { maskNifti, type Volume } from "../core/nifti";
import { pixels } from "../core/planes";
import { colourOf, colours } from "./colours";
import type { CaseState } from "./state";

const QUIET_MS = 250; // after the last change, before the masks are sent to the graphics card again

export class Planes {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas", { "aria-label": "Three planes of the volume", role: "img" });
  private readonly reason = h("p", { class: "pane-reason", hidden: true });
  private viewer: Niivue | null = null;
  private overlay: NVImage | null = null;
  private following = false;
  private timer = 0;

  constructor(
    private readonly state: CaseState,
    until: AbortSignal,
  ) {
    this.element = h("div", { class: "pane planes" }, this.canvas, this.reason);
    const start = (): void => {
      const picture = state.images.original.value;
      if (state.layout.value === "planes" && picture && !this.viewer) void this.open(picture.volume, picture.range.high);
    };
    state.layout.follow(start, until);
    state.images.original.watch(start, until);
    const later = (): void => {
      clearTimeout(this.timer);
      this.timer = window.setTimeout(() => this.update(), QUIET_MS);
    };
    for (const signal of [state.doc, state.hidden]) signal.follow(later, until);
    colours.follow(later, until);
    state.index.follow(() => this.follow(), until);
    until.addEventListener("abort", () => {
      clearTimeout(this.timer);
      this.viewer?.cleanup();
      this.canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
    });
  }

  private async open(volume: Volume, high: number): Promise<void> {
    if (!document.createElement("canvas").getContext("webgl2")) {
      this.reason.hidden = false;
      fill(this.reason, "Three planes need WebGL 2, which this browser does not offer; the slice view works without it.");
      return;
    }
    const { Niivue, NVImage, SHOW_RENDER } = await import("@niivue/niivue");
    const viewer = new Niivue({
      backColor: [0, 0, 0, 1], crosshairColor: [0.43, 0.8, 1, 0.8], crosshairWidth: 1, show3Dcrosshair: true,
      dragAndDropEnabled: false, isRadiologicalConvention: true, multiplanarShowRender: SHOW_RENDER.ALWAYS, isColorbar: false, logLevel: "error",
    });
    this.viewer = viewer;
    await viewer.attachToCanvas(this.canvas);
    const shared = { colormap: "gray", opacity: 1 };
    const scan = await NVImage.loadFromUrl({ url: "scan.nii", name: "scan.nii", buffer: nifti(volume), ...shared, cal_max: high });
    viewer.addVolume(scan);
    const [depth, height, width] = volume.shape;
    const mask = maskNifti(volume, new Uint8Array(depth * height * width));
    this.overlay = await NVImage.loadFromUrl({ url: "mask.nii", name: "mask.nii", buffer: mask, opacity: 0.55 });
    viewer.addVolume(this.overlay);
    viewer.onLocationChange = (place) => this.moved(place);
    this.update();
    this.follow();
  }

  /** The crosshair was put somewhere by hand. */
  private moved(place: unknown): void {
    const index = (place as { vox?: readonly number[] }).vox?.[2];
    if (index === undefined || this.following) return;
    this.state.goTo(index);
  }

  private follow(): void {
    const { viewer, state } = this;
    if (!viewer?.volumes.length) return;
    const [x, y, z] = viewer.frac2vox(viewer.scene.crosshairPos) as unknown as [number, number, number];
    if (Math.round(z) === state.index.value) return;
    this.following = true;
    viewer.scene.crosshairPos = viewer.vox2frac([x, y, state.index.value]);
    viewer.drawScene();
    this.following = false;
  }

  private update(): void {
    const { viewer, overlay, state } = this;
    if (!viewer || !overlay?.img) return;
    const [, height, width] = state.shape;
    const labels = overlay.img as Uint8Array;
    labels.fill(0);
    const shown = state.doc.value.lesions.map((lesion, number) => ({ lesion, number }));
    shown.forEach(({ lesion }, label) => {
      if (state.hidden.value.has(lesion.id)) return;
      for (const [index, rle] of lesion.slices) {
        const plane = pixels(rle);
        const start = index * height * width;
        for (let i = 0; i < plane.length; i++) if (plane[i]) labels[start + i] = label + 1;
      }
    });
    const rgb = shown.map(({ lesion, number }) => colourOf(lesion.id, number)).map((hex) => Number.parseInt(hex.slice(1), 16));
    overlay.setColormapLabel({
      R: [0, ...rgb.map((value) => value >> 16)],
      G: [0, ...rgb.map((value) => (value >> 8) & 255)],
      B: [0, ...rgb.map((value) => value & 255)],
      A: [0, ...rgb.map(() => 255)],
      I: [0, ...rgb.map((_, number) => number + 1)],
      labels: ["", ...shown.map(({ lesion }) => lesion.name)],
    });
    viewer.updateGLVolume();
  }
}

/** The volume as the uncompressed file that it came from. */
function nifti(volume: Volume): ArrayBuffer {
  const file = new Uint8Array(volume.header.byteLength + volume.data.byteLength);
  file.set(new Uint8Array(volume.header));
  file.set(new Uint8Array(volume.data.buffer, volume.data.byteOffset, volume.data.byteLength), volume.header.byteLength);
  const view = new DataView(file.buffer);
  const little = view.getInt32(0, true) === 348;
  view.setInt16(70, 16, little);
  view.setInt16(72, 32, little);
  view.setFloat32(108, volume.header.byteLength, little);
  view.setFloat32(112, 1, little);
  view.setFloat32(116, 0, little);
  return file.buffer;
}
