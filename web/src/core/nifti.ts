/** Reading and writing of single-file NIfTI-1, as far as the server makes it. */

export interface Volume {
  readonly shape: readonly [depth: number, height: number, width: number];
  readonly data: Float32Array; // [z][y][x], x fastest
  readonly header: ArrayBuffer; // 352 bytes, so that a mask can be written on the same grid
}

const HEADER = 352;
const UINT8 = 2;

export async function readNifti(bytes: ArrayBuffer): Promise<Volume> {
  const raw = await inflated(bytes);
  if (raw.byteLength < HEADER) throw new Error("NIfTI: the file is too short");
  const view = new DataView(raw);
  const little = view.getInt32(0, true) === 348;
  if (!little && view.getInt32(0, false) !== 348) throw new Error("NIfTI: the header is not NIfTI-1");
  const dim = (axis: number): number => Math.max(1, view.getInt16(40 + 2 * axis, little));
  const [width, height, depth] = [dim(1), dim(2), dim(3)];
  const type = view.getInt16(70, little);
  const offset = Math.max(HEADER, view.getFloat32(108, little));
  const slope = view.getFloat32(112, little) || 1;
  const intercept = view.getFloat32(116, little) || 0;
  const reader = READERS[type];
  if (!reader) throw new Error(`NIfTI: data type ${type} is not read`);
  const count = width * height * depth;
  if (raw.byteLength < offset + count * reader.bytes) throw new Error("NIfTI: the file ends before its pixels do");
  const data = type === 16 && little && offset % 4 === 0 ? new Float32Array(raw, offset, count).slice() : fill(count, reader, view, offset, little);
  if (slope !== 1 || intercept !== 0) for (let i = 0; i < count; i++) data[i] = data[i]! * slope + intercept;
  return { shape: [depth, height, width], data, header: raw.slice(0, HEADER) };
}

const SCANNER = 1; // sform code of a matrix that came with the file; the server writes another where there was none

/** Letters of the patient's sides at the edges of a slice, from the file's matrix; null where the file told none. */
export function edgeLetters({ header }: Volume): { left: string; right: string; top: string; bottom: string } | null {
  const view = new DataView(header);
  const little = view.getInt32(0, true) === 348;
  if (view.getInt16(254, little) !== SCANNER) return null;
  const towards = (axis: number): string => {
    const parts = [0, 1, 2].map((row) => view.getFloat32(280 + 16 * row + 4 * axis, little)); // srow_x, y, z
    const main = parts.reduce((best, part, at) => (Math.abs(part) > Math.abs(parts[best]!) ? at : best), 0);
    return (parts[main]! > 0 ? ["R", "A", "S"] : ["L", "P", "I"])[main]!;
  };
  const [right, bottom] = [towards(0), towards(1)];
  return { left: OPPOSITE[right]!, right, top: OPPOSITE[bottom]!, bottom };
}

const OPPOSITE: Readonly<Record<string, string>> = { R: "L", L: "R", A: "P", P: "A", S: "I", I: "S" };

/** A mask on the grid of `like`, for NiiVue. */
export function maskNifti(like: Volume, labels: Uint8Array): ArrayBuffer {
  const bytes = new Uint8Array(HEADER + labels.length);
  bytes.set(new Uint8Array(like.header));
  const view = new DataView(bytes.buffer);
  const little = view.getInt32(0, true) === 348;
  view.setInt16(70, UINT8, little);
  view.setInt16(72, 8, little);
  view.setFloat32(108, HEADER, little);
  view.setFloat32(112, 1, little);
  view.setFloat32(116, 0, little);
  bytes.set(labels, HEADER);
  return bytes.buffer;
}

interface Reader {
  readonly bytes: number;
  readonly read: (view: DataView, at: number, little: boolean) => number;
}

const READERS: Readonly<Record<number, Reader>> = {
  2: { bytes: 1, read: (view, at) => view.getUint8(at) },
  4: { bytes: 2, read: (view, at, little) => view.getInt16(at, little) },
  8: { bytes: 4, read: (view, at, little) => view.getInt32(at, little) },
  16: { bytes: 4, read: (view, at, little) => view.getFloat32(at, little) },
  64: { bytes: 8, read: (view, at, little) => view.getFloat64(at, little) },
  256: { bytes: 1, read: (view, at) => view.getInt8(at) },
  512: { bytes: 2, read: (view, at, little) => view.getUint16(at, little) },
  768: { bytes: 4, read: (view, at, little) => view.getUint32(at, little) },
};

function fill(count: number, reader: Reader, view: DataView, offset: number, little: boolean): Float32Array<ArrayBuffer> {
  const data = new Float32Array(count);
  for (let i = 0; i < count; i++) data[i] = reader.read(view, offset + i * reader.bytes, little);
  return data;
}

async function inflated(bytes: ArrayBuffer): Promise<ArrayBuffer> {
  const start = new Uint8Array(bytes, 0, Math.min(2, bytes.byteLength));
  if (start[0] !== 0x1f || start[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
