/** Scans into the workspace: dropped anywhere on the page, or chosen. */

import { api } from "../api/client";
import type { Uploaded } from "../api/types";
import { fill, h } from "../app/dom";
import { complain, say } from "../app/notices";
import { counted, percent } from "../app/wording";

export interface Upload {
  readonly status: HTMLElement;
  readonly send: (files: readonly File[]) => Promise<void>;
}

export function uploader(done: (result: Uploaded) => void): Upload {
  const status = h("div", { class: "progress-line", role: "status", hidden: true });
  const send = async (files: readonly File[]): Promise<void> => {
    if (files.length === 0) return;
    status.hidden = false;
    const bar = h("progress", { max: 1, value: 0, "aria-label": "Upload" });
    const text = h("span", {}, `Uploading ${counted(files.length, "file")} …`);
    fill(status, text, bar);
    try {
      const result = await api.addCases(files, (share) => {
        bar.value = share;
        text.textContent = share < 1 ? `Uploading ${counted(files.length, "file")}: ${percent(share)}` : "Reading the scans …";
      });
      for (const skipped of result.skipped.slice(0, 3)) say(named(skipped), "error");
      if (result.skipped.length > 3) say(`${result.skipped.length - 3} more files were left out.`, "error");
      done(result);
    } catch (error) {
      complain(error);
    } finally {
      status.hidden = true;
    }
  };
  return { status, send };
}

/** What is wrong with a file, its name in front once. */
export function named({ name, error }: Uploaded["skipped"][number]): string {
  return error.startsWith(name) ? error : `${name}: ${error}`;
}

/** Lets files and folders be dropped anywhere on the page. */
export function acceptDrops(send: (files: readonly File[]) => Promise<void>, until: AbortSignal): void {
  let inside = 0;
  const veil = h("div", { class: "veil", "aria-hidden": "true" }, h("div", {}, "Drop scans: PNG, JPG, TIFF, DICOM, NIfTI, folders or ZIP"));
  const on = (name: "dragenter" | "dragover" | "dragleave" | "drop", act: (event: DragEvent) => void): void =>
    window.addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      act(event);
    }, { signal: until });
  const away = (): void => ((inside = 0), veil.remove());
  on("dragenter", () => ++inside === 1 && document.body.append(veil));
  on("dragover", () => undefined);
  on("dragleave", () => --inside <= 0 && away());
  on("drop", (event) => {
    away();
    void filesOf(event.dataTransfer!).then(send).catch(complain);
  });
  until.addEventListener("abort", away);
}

async function filesOf(transfer: DataTransfer): Promise<File[]> {
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry?.() ?? []);
  if (entries.length === 0) return [...transfer.files];
  return (await Promise.all(entries.map(walk))).flat();
}

async function walk(entry: FileSystemEntry): Promise<File[]> {
  if (entry.name.startsWith(".")) return [];
  if (entry.isFile) return [await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break; // a browser hands out a large folder in parts
    found.push(...some);
  }
  return (await Promise.all(found.map(walk))).flat();
}
