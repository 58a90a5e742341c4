// The run as the page knows it: operations as columns, faults, nodes, marks and anomalies.
import { PackedIntegers, PackedTexts, Texts, unpackIntegers } from "./columns";

/** Outcomes, in the numbers that Python packs. `OPEN` is info too: no completion was recorded. */
export const OK = 0;
export const FAIL = 1;
export const INFO = 2;
export const OPEN = 3;
export const OUTCOMES = ["ok", "fail", "info", "info, never completed"];

export interface Fault {
  step: number;
  /** Name and targets. */
  label: string;
  /** Class and shape, `partition one-way`. */
  name: string;
  /** Class, `partition`. */
  fault: string;
  targets: string[];
  plan: string;
  start: number;
  effective: number | null;
  end: number | null;
  took_effect: boolean;
  skipped: string | null;
  evidence: string;
}

export interface Anomaly {
  type: string;
  checker: string;
  sentence: string;
  rows: number[];
}

/** Who led a range from when on: `[time, position in `nodes` or -1, term]`, by time. */
export interface RangeLeaders {
  range: string;
  changes: [number, number, number][];
}

export interface Mark {
  time: number;
  node: string;
  kind: string;
  text: string;
}

/** Processes that ran one after the other: those of a client thread, where it is known which thread that was. */
export interface Lane {
  node: string;
  thread: number | null;
  /** Positions in `processes`. */
  processes: number[];
}

/** Who sent what to whom; times in microseconds since the start of the run. */
export interface Messages {
  /** How many there were in the run, how many its folder keeps, and how many this page has, by when they were sent. */
  recorded: number;
  kept: number;
  count: number;
  hosts: string[];
  kinds: string[];
  /** Names; an empty one for messages about no range, or several. */
  ranges: string[];
  sent: Float64Array;
  /** How long until it had arrived; -1: it never did. */
  took: Float64Array;
  source: Float64Array;
  target: Float64Array;
  kind: Float64Array;
  range: Float64Array;
  term: Float64Array;
  text: Texts;
  /** How long half of those that arrived took at most. */
  usual: number;
}

/** How far a node's clock was ahead: lines of `time, ms ahead, time, ms ahead, ...`. */
export interface ClockLine {
  node: string;
  lines: number[][];
}

interface PackedMessages {
  recorded: number;
  kept: number;
  n: number;
  hosts: string[];
  kinds: string[];
  ranges: string[];
  sent: PackedIntegers;
  took: PackedIntegers;
  source: PackedIntegers;
  target: PackedIntegers;
  kind: PackedIntegers;
  range: PackedIntegers;
  term: PackedIntegers;
  text: PackedTexts;
}

interface Packed {
  span_us: number;
  operations: {
    n: number;
    start: PackedIntegers;
    duration: PackedIntegers;
    lag: PackedIntegers | null;
    process: PackedIntegers;
    outcome: PackedIntegers;
    index: PackedIntegers;
    value: PackedTexts;
    error: PackedTexts;
  };
  processes: number[];
  functions: string[];
  nodes: string[];
  lanes: Lane[];
  /** A sentence if many operations began late, else empty. */
  lateness: string;
  phases: [string, number][];
  faults: Fault[];
  node_effects: Record<string, [number, string][]>;
  marks: Mark[];
  anomalies: Anomaly[];
  ranges: RangeLeaders[];
  messages: PackedMessages | null;
  clocks: ClockLine[];
}

/** One row an operation, in the order of invocation; times in microseconds since the start of the run. */
export interface Operations {
  count: number;
  start: Float64Array;
  duration: Float64Array;
  /** Microseconds between the intended and the actual start; null where the run has no open-loop operations. */
  lag: Float64Array | null;
  process: Uint32Array;
  outcome: Uint8Array;
  f: Uint16Array;
  /** Index of the invocation in the history. */
  index: Float64Array;
  value: Texts;
  error: Texts;
}

export interface Run extends Omit<Packed, "operations" | "span_us" | "messages"> {
  span: number;
  operations: Operations;
  /** Rows that belong to an anomaly, with the anomaly's position. */
  anomalyOf: Map<number, number>;
  messages: Messages | null;
}

export async function loadRun(): Promise<Run> {
  const element = document.getElementById("run-data");
  if (element === null) throw new Error("the page holds no run");
  const packed = JSON.parse(element.textContent ?? "") as Packed;
  element.remove();
  const columns = packed.operations;
  // All at once: the browser decompresses on other threads meanwhile.
  const [start, duration, lag, process, combined, index, value, error] = await Promise.all([
    unpackIntegers(columns.start),
    unpackIntegers(columns.duration),
    columns.lag === null ? null : unpackIntegers(columns.lag),
    unpackIntegers(columns.process),
    unpackIntegers(columns.outcome),
    unpackIntegers(columns.index),
    Texts.unpack(columns.value),
    Texts.unpack(columns.error),
  ]);
  const outcome = new Uint8Array(columns.n);
  const f = new Uint16Array(columns.n);
  for (let row = 0; row < columns.n; row++) {
    outcome[row] = combined[row] % 4;
    f[row] = combined[row] >>> 2;
  }
  const operations: Operations = {
    count: columns.n,
    start,
    duration,
    lag,
    process: Uint32Array.from(process),
    outcome,
    f,
    index,
    value,
    error,
  };
  const anomalyOf = new Map<number, number>();
  packed.anomalies.forEach((anomaly, position) => {
    for (const row of anomaly.rows) if (!anomalyOf.has(row)) anomalyOf.set(row, position);
  });
  const messages = packed.messages === null ? null : await unpackMessages(packed.messages);
  return { ...packed, span: Math.max(1, packed.span_us), operations, anomalyOf, messages };
}

async function unpackMessages(packed: PackedMessages): Promise<Messages> {
  const names = ["sent", "took", "source", "target", "kind", "range", "term"] as const;
  const [sent, took, source, target, kind, range, term] = await Promise.all(names.map((name) => unpackIntegers(packed[name])));
  const arrived = took.filter((time) => time >= 0).sort();
  const usual = arrived.length > 0 ? arrived[arrived.length >> 1] : 1000;
  const text = await Texts.unpack(packed.text);
  return { ...packed, count: packed.n, sent, took, source, target, kind, range, term, text, usual };
}

/** What was asked, and what was answered if that is something else. */
export function askedAndAnswered(operations: Operations, row: number): [string, string | null] {
  const [asked, answered] = operations.value.get(row).split("\x02");
  return [asked, answered ?? null];
}

/** For example `read [3,null] → [3,17]`. */
export function summary(run: Run, row: number): string {
  const [asked, answered] = askedAndAnswered(run.operations, row);
  const f = run.functions[run.operations.f[row]];
  return visible(answered === null ? `${f} ${asked}` : `${f} ${asked} → ${answered}`);
}

/** In fewer letters: what was answered, else what was asked. */
export function shortSummary(run: Run, row: number): string {
  const [asked, answered] = askedAndAnswered(run.operations, row);
  return visible(`${run.functions[run.operations.f[row]]} ${answered ?? asked}`);
}

/** Few letters for one step, also in the list of steps: `P0`. */
export function faultCode(fault: Fault): string {
  return visible(`${(fault.fault[0] ?? "?").toUpperCase()}${fault.step}`);
}

/** For example `thread 0 (+1)`: one process after another took the place of one whose outcome stayed unknown. */
export function laneLabel(run: Run, lane: Lane): string {
  const more = lane.processes.length > 1 ? ` (+${lane.processes.length - 1})` : "";
  return `${lane.thread === null ? `process ${run.processes[lane.processes[0]]}` : `thread ${lane.thread}`}${more}`;
}

/** The numbers of its processes, and why there are several. */
export function laneTitle(run: Run, lane: Lane): string {
  const numbers = lane.processes.map((process) => run.processes[process]);
  const rest = numbers.slice(1, 8).join(", then ") + (numbers.length > 8 ? `, and ${numbers.length - 8} more` : "");
  const told = numbers.length > 1 ? `process ${numbers[0]}, then ${rest} ${numbers.length > 2 ? "each " : ""}after an unknown outcome (+${numbers.length - 1})` : `process ${numbers[0]}`;
  const place = lane.node === "" ? "" : `, talking to ${visible(lane.node)}`;
  return `${lane.thread === null ? "" : `client thread ${lane.thread}${place}: `}${told}${lane.thread === null ? place : ""}`;
}

// What results/report/escape.py writes out, and for the same reason.
const INVISIBLE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\u{e0000}-\u{e0fff}]/gu;

/** Text with its invisible characters written out, and the middle of shortened values named. */
export function visible(text: string): string {
  return text
    .replace(/\x03(\d+)\x03/g, (_, size: string) => ` … (${Number(size).toLocaleString("en")} characters in all) … `)
    .replace(INVISIBLE, (letter) => {
      const code = letter.codePointAt(0) ?? 0;
      return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, "0")}`;
    });
}

export function seconds(us: number, digits = 3): string {
  return `${(us / 1e6).toFixed(digits)} s`;
}

export function duration(us: number): string {
  if (us < 1000) return `${us.toFixed(0)} µs`;
  if (us < 1e6) return `${(us / 1000).toFixed(us < 1e4 ? 2 : 1)} ms`;
  return `${(us / 1e6).toFixed(2)} s`;
}

/** The first position whose value is at least `value`, in a sorted column between `low` and `high`. */
export function lowerBound(column: ArrayLike<number>, value: number, low = 0, high = column.length): number {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (column[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
