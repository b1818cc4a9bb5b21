import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { dragged, FULL, rangeOf, shaded } from "../src/core/levels";
import { edgeLetters, maskNifti, readNifti } from "../src/core/nifti";

/** A file of 4 columns, 3 rows, 2 slices whose voxels count up. */
function file(type: number, bits: number, write: (view: DataView, at: number, value: number) => void, little = true, slope = 1): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(352 + 24 * (bits / 8)));
  view.setInt32(0, 348, little);
  [3, 4, 3, 2].forEach((size, axis) => view.setInt16(40 + 2 * axis, size, little));
  view.setInt16(70, type, little);
  view.setInt16(72, bits, little);
  view.setInt16(254, 1, little);
  view.setFloat32(108, 352, little);
  view.setFloat32(112, slope, little);
  view.setFloat32(116, slope === 1 ? 0 : 10, little);
  for (const [row, column, value] of [[0, 0, -1], [1, 1, -1], [2, 2, 1]] as const) view.setFloat32(280 + 16 * row + 4 * column, value, little);
  for (let one = 0; one < 24; one++) write(view, 352 + (one * bits) / 8, one);
  return view.buffer as ArrayBuffer;
}

const COUNT = Array.from({ length: 24 }, (_, one) => one);

describe("NIfTI", () => {
  it.each([
    ["float32", file(16, 32, (view, at, value) => view.setFloat32(at, value, true))],
    ["float32, big-endian", file(16, 32, (view, at, value) => view.setFloat32(at, value, false), false)],
    ["uint8", file(2, 8, (view, at, value) => view.setUint8(at, value))],
    ["int16", file(4, 16, (view, at, value) => view.setInt16(at, value, true))],
    ["float64", file(64, 64, (view, at, value) => view.setFloat64(at, value, true))],
  ])("%s is read as [z][y][x]", async (_, bytes) => {
    const volume = await readNifti(bytes);
    expect(volume.shape).toEqual([2, 3, 4]);
    expect([...volume.data]).toEqual(COUNT);
  });

  it("is read from gzip, its slope and intercept applied", async () => {
    const packed = gzipSync(new Uint8Array(file(2, 8, (view, at, value) => view.setUint8(at, value), true, 2)));
    const volume = await readNifti(packed.buffer.slice(packed.byteOffset, packed.byteOffset + packed.byteLength) as ArrayBuffer);
    expect([...volume.data]).toEqual(COUNT.map((one) => 2 * one + 10));
  });

  it("that is none, too short, or of an unknown type is refused", async () => {
    const good = file(16, 32, (view, at, value) => view.setFloat32(at, value, true));
    await expect(readNifti(new ArrayBuffer(400))).rejects.toThrow("not NIfTI-1");
    await expect(readNifti(new ArrayBuffer(20))).rejects.toThrow("too short");
    await expect(readNifti(good.slice(0, 380))).rejects.toThrow("before its pixels");
    new DataView(good).setInt16(70, 128, true);
    await expect(readNifti(good)).rejects.toThrow("type 128");
  });

  it("written as a mask is read back on the same grid", async () => {
    const volume = await readNifti(file(16, 32, (view, at, value) => view.setFloat32(at, value, true)));
    const labels = Uint8Array.from(COUNT, (one) => one % 3);
    const back = await readNifti(maskNifti(volume, labels));
    expect([...back.data]).toEqual([...labels]);
    expect(back.shape).toEqual(volume.shape);
  });

  it("tells the patient's sides from its matrix", async () => {
    const volume = await readNifti(file(16, 32, (view, at, value) => view.setFloat32(at, value, true)));
    expect(edgeLetters(volume)).toEqual({ left: "R", right: "L", top: "A", bottom: "P" });
  });

  it("tells no sides where the file told none", async () => {
    const made = file(16, 32, (view, at, value) => view.setFloat32(at, value, true));
    new DataView(made).setInt16(254, 2, true); // as the server writes it for a stack of pictures
    expect(edgeLetters(await readNifti(made))).toBeNull();
  });
});

describe("window and level", () => {
  it("spread an image's range over the greys", async () => {
    const volume = await readNifti(file(16, 32, (view, at, value) => view.setFloat32(at, value, true)));
    const range = rangeOf(volume);
    expect(range).toEqual({ low: 0, high: 22 });
    const words = new Uint32Array(12);
    shaded(volume, 0, range, FULL, words);
    expect([words[0], words[11]! & 255]).toEqual([0xff000000, Math.round((11 / 22) * 255)]);
  });

  it("never lose their width", () => {
    expect(dragged(FULL, -50, 0).width).toBeGreaterThan(0);
  });
});
