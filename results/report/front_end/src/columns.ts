// Unpacks what results/report/columns.py packed; the format is described there.
import { gunzip } from "./inflate";

export interface PackedIntegers {
  n: number;
  planes: number;
  delta: boolean;
  bytes: string;
}

export interface PackedTexts {
  templates: [string, [number, PackedIntegers][]][];
  row: PackedIntegers;
  blocks: string[];
}

const SLOT = "\x01";
/** Lines of a block, as in Python. */
const BLOCK = 1024;
/** Blocks that stay unpacked: a quarter of a million short texts. */
const MOST_BLOCKS = 256;

function decoded(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** `#own-inflate` at the end of the address makes this page do without the browser's decompression, for tests. */
async function unpackBytes(text: string): Promise<Uint8Array> {
  const bytes = decoded(text);
  if (typeof DecompressionStream === "undefined" || location.hash.includes("own-inflate")) return gunzip(bytes);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export async function unpackIntegers(packed: PackedIntegers): Promise<Float64Array> {
  const bytes = await unpackBytes(packed.bytes);
  const { n, planes, delta } = packed;
  const column = new Float64Array(n);
  if (planes <= 3) {
    // Nearly always so, and several times faster.
    const [second, third] = [planes > 1 ? n : -1, planes > 2 ? 2 * n : -1];
    for (let row = 0; row < n; row++) {
      let zigzag = bytes[row];
      if (second > 0) zigzag |= bytes[second + row] << 8;
      if (third > 0) zigzag |= bytes[third + row] << 16;
      column[row] = (zigzag >>> 1) ^ -(zigzag & 1);
    }
  } else {
    for (let row = 0; row < n; row++) {
      let zigzag = 0;
      let weight = 1;
      for (let plane = 0; plane < planes; plane++, weight *= 256) zigzag += bytes[plane * n + row] * weight;
      column[row] = zigzag % 2 === 1 ? -(zigzag + 1) / 2 : zigzag / 2;
    }
  }
  if (delta) for (let row = 1; row < n; row++) column[row] += column[row - 1];
  return column;
}

async function unpackSlots(packed: [number, PackedIntegers][]): Promise<Float64Array[]> {
  const columns = await Promise.all(
    packed.map(([reference, integers]) => unpackIntegers({ ...integers, delta: reference < 0 })),
  );
  packed.forEach(([reference], slot) => {
    const [column, before] = [columns[slot], columns[reference]];
    if (reference >= 0) for (let i = 0; i < column.length; i++) column[i] += before[i];
  });
  return columns;
}

/** A column of texts; a text is put together, and a block of lines unpacked, when somebody asks for it. */
export class Texts {
  /** The blocks that were asked for, the one of the longest ago first. */
  private readonly lines = new Map<number, string[]>();

  private constructor(
    private readonly templates: string[][],
    private readonly slots: Float64Array[][],
    private readonly template: Uint16Array,
    /** Which row of its template a row is. */
    private readonly position: Uint32Array,
    private readonly blocks: string[],
  ) {}

  static async unpack(packed: PackedTexts): Promise<Texts> {
    const templates: string[][] = [[]];
    const slots: Float64Array[][] = [[]];
    for (const [text] of packed.templates) templates.push(text.split(SLOT));
    slots.push(...(await Promise.all(packed.templates.map(([, packedSlots]) => unpackSlots(packedSlots)))));
    const template = Uint16Array.from(await unpackIntegers(packed.row));
    const position = new Uint32Array(template.length);
    const counts = new Uint32Array(templates.length);
    for (let row = 0; row < template.length; row++) position[row] = counts[template[row]]++;
    return new Texts(templates, slots, template, position, packed.blocks);
  }

  get(row: number): string {
    const template = this.template[row];
    const position = this.position[row];
    if (template === 0) return this.line(position);
    const literals = this.templates[template];
    let text = literals[0];
    for (let slot = 0; slot + 1 < literals.length; slot++) {
      text += this.slots[template][slot][position] + literals[slot + 1];
    }
    return text;
  }

  /** Unpacks what `get` of this row needs, by the browser, which is quicker; null if nothing has to be unpacked. */
  prepare(row: number): Promise<void> | null {
    const block = Math.floor(this.position[row] / BLOCK);
    if (this.template[row] !== 0 || this.lines.has(block)) return null;
    return unpackBytes(this.blocks[block]).then((bytes) => void this.keep(block, bytes));
  }

  private line(position: number): string {
    const block = Math.floor(position / BLOCK);
    const lines = this.lines.get(block) ?? this.keep(block, gunzip(decoded(this.blocks[block])));
    return lines[position % BLOCK];
  }

  private keep(block: number, bytes: Uint8Array): string[] {
    const lines = new TextDecoder().decode(bytes).split("\n");
    this.lines.set(block, lines);
    if (this.lines.size > MOST_BLOCKS) this.lines.delete(this.lines.keys().next().value!);
    return lines;
  }
}
