// Gunzip for browsers without DecompressionStream: RFC 1951 and 1952, nothing more than our own data needs.

const LENGTH_BASE = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_EXTRA = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BASE = [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];
const DISTANCE_EXTRA = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
const CODE_LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** A canonical Huffman code: how many codes there are of each length, and the symbols in order. */
interface Huffman {
  counts: Uint16Array;
  symbols: Uint16Array;
}

function huffman(lengths: ArrayLike<number>): Huffman {
  const counts = new Uint16Array(16);
  for (let i = 0; i < lengths.length; i++) counts[lengths[i]]++;
  counts[0] = 0;
  const offsets = new Uint16Array(17);
  for (let length = 1; length < 16; length++) offsets[length + 1] = offsets[length] + counts[length];
  const symbols = new Uint16Array(lengths.length);
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    if (lengths[symbol] !== 0) symbols[offsets[lengths[symbol]]++] = symbol;
  }
  return { counts, symbols };
}

function fixedCodes(): [Huffman, Huffman] {
  const lengths = new Uint8Array(288);
  lengths.fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280);
  return [huffman(lengths), huffman(new Uint8Array(30).fill(5))];
}

class Bits {
  private buffer = 0;
  private count = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private position: number,
  ) {}

  take(need: number): number {
    while (this.count < need) {
      if (this.position >= this.bytes.length) throw new Error("compressed data ends too early");
      this.buffer |= this.bytes[this.position++] << this.count;
      this.count += 8;
    }
    const value = this.buffer & ((1 << need) - 1);
    this.buffer >>>= need;
    this.count -= need;
    return value;
  }

  symbol(code: Huffman): number {
    let value = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length < 16; length++) {
      value |= this.take(1);
      const count = code.counts[length];
      if (value - count < first) return code.symbols[index + value - first];
      index += count;
      first = (first + count) << 1;
      value <<= 1;
    }
    throw new Error("compressed data holds an unknown code");
  }

  /** Skips to a byte's start and copies whole bytes. */
  copy(): Uint8Array {
    this.buffer = 0;
    this.count = 0;
    const size = this.bytes[this.position] | (this.bytes[this.position + 1] << 8);
    const start = this.position + 4;
    this.position = start + size;
    return this.bytes.subarray(start, this.position);
  }
}

function dynamicCodes(bits: Bits): [Huffman, Huffman] {
  const literals = bits.take(5) + 257;
  const distances = bits.take(5) + 1;
  const used = bits.take(4) + 4;
  const codeLengths = new Uint8Array(19);
  for (let i = 0; i < used; i++) codeLengths[CODE_LENGTH_ORDER[i]] = bits.take(3);
  const code = huffman(codeLengths);
  const lengths = new Uint8Array(literals + distances);
  for (let at = 0; at < lengths.length; ) {
    const symbol = bits.symbol(code);
    if (symbol < 16) lengths[at++] = symbol;
    else {
      const value = symbol === 16 ? lengths[at - 1] : 0;
      const repeat = symbol === 16 ? 3 + bits.take(2) : symbol === 17 ? 3 + bits.take(3) : 11 + bits.take(7);
      lengths.fill(value, at, at + repeat);
      at += repeat;
    }
  }
  return [huffman(lengths.subarray(0, literals)), huffman(lengths.subarray(literals))];
}

/** The data inside one gzip member. */
export function gunzip(bytes: Uint8Array): Uint8Array {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b || bytes[3] !== 0) throw new Error("not plain gzip data");
  const tail = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4, 4);
  const out = new Uint8Array(tail.getUint32(0, true));
  const bits = new Bits(bytes, 10);
  let at = 0;
  for (let last = 0; last === 0; ) {
    last = bits.take(1);
    const kind = bits.take(2);
    if (kind === 0) {
      const stored = bits.copy();
      out.set(stored, at);
      at += stored.length;
      continue;
    }
    const [literal, distance] = kind === 1 ? fixedCodes() : dynamicCodes(bits);
    for (;;) {
      const symbol = bits.symbol(literal);
      if (symbol < 256) {
        out[at++] = symbol;
        continue;
      }
      if (symbol === 256) break;
      const length = LENGTH_BASE[symbol - 257] + bits.take(LENGTH_EXTRA[symbol - 257]);
      const code = bits.symbol(distance);
      const back = DISTANCE_BASE[code] + bits.take(DISTANCE_EXTRA[code]);
      for (let i = 0; i < length; i++, at++) out[at] = out[at - back];
    }
  }
  return out;
}
