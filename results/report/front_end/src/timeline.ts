// Nodes, faults and operations by process, on a canvas. Every operation is drawn at every zoom: where several share
// a pixel, the pixel shows the outcome that matters most (info before fail before ok).
import { BOLD, firstThatFits, fitted, GUTTER, niceStep, onceAFrame, pen, SMALL } from "./canvas";
import { duration, Fault, faultCode, INFO, laneLabel, laneTitle, lowerBound, OK, OPEN, OUTCOMES, Run, seconds, shortSummary, summary, visible } from "./run";
import { faultColour, readTheme, Theme } from "./theme";
import { View } from "./view";

const AXIS = 22;
const HEADER_ROW = 20;
const EFFECT_ROW = 15;
const MOST_HEIGHT = 560;
/** A skipped step has no end; it is drawn this wide, in pixels. */
const SKIPPED_WIDTH = 90;

interface FaultRow {
  kind: "faults";
  faults: number[];
}
interface NodeRow {
  kind: "node";
  node: string;
  /** What faults do to it, those that overlap in different sub-rows: `[position of the fault, words]`. */
  effects: [number, string][][];
}
interface LaneRow {
  kind: "lane";
  label: string;
  title: string;
  /** Rows of this lane's operations, by start; they do not overlap but for the last of a process that ended in info. */
  rows: Uint32Array;
}
type Row = (FaultRow | NodeRow | LaneRow) & { top: number; height: number };

export type Choice = { operation: number } | { fault: number } | { mark: number };

export class Timeline {
  readonly draw: () => void;
  private readonly rows: Row[] = [];
  private readonly laneOf: Map<number, number> = new Map();
  private readonly total: number;
  private readonly canvas = document.createElement("canvas");
  private readonly tip = document.createElement("div");
  private readonly scroller = document.createElement("div");
  private theme: Theme = readTheme();
  private width = 0;
  private chosen: Choice | null = null;

  constructor(
    private readonly place: HTMLElement,
    private readonly run: Run,
    private readonly view: View,
    private readonly choose: (choice: Choice) => void,
  ) {
    this.total = this.layOut();
    this.draw = onceAFrame(() => this.paint());
    this.build();
    this.wire();
    view.listen(this.draw);
    new ResizeObserver(this.draw).observe(place);
  }

  recolour(): void {
    this.theme = readTheme();
    this.draw();
  }

  /** Marks what is chosen, and scrolls it into view. */
  mark(choice: Choice | null): void {
    this.chosen = choice;
    if (choice !== null && "operation" in choice) {
      const row = this.rows[this.laneOf.get(this.run.operations.process[choice.operation]) ?? 0];
      const { scrollTop, clientHeight } = this.scroller;
      if (row.top < scrollTop || row.top + row.height > scrollTop + clientHeight - AXIS) {
        this.scroller.scrollTop = row.top - clientHeight / 2;
      }
    }
    this.draw();
  }

  // Layout

  private layOut(): number {
    const { run } = this;
    let top = 0;
    const add = (row: FaultRow | NodeRow | LaneRow, height: number): void => {
      this.rows.push({ ...row, top, height });
      top += height;
    };
    for (const faults of packed(run.faults, run.span)) add({ kind: "faults", faults }, HEADER_ROW);
    const perProcess = this.rowsByProcess();
    const laneHeight = run.lanes.length * 16 <= MOST_HEIGHT - 120 ? 16 : run.lanes.length * 9 <= MOST_HEIGHT ? 9 : 6;
    const nodes = [...run.nodes, ...(run.lanes.some((lane) => lane.node === "") ? [""] : [])];
    for (const node of nodes) {
      const effects = (run.node_effects[node] ?? []).filter(([position]) => run.faults[position].skipped === null);
      const rows = packed(effects.map(([position]) => run.faults[position]), run.span);
      const subRows = rows.map((row) => row.map((place) => effects[place]));
      add({ kind: "node", node, effects: subRows }, Math.max(HEADER_ROW, subRows.length * EFFECT_ROW + 5));
      for (const lane of run.lanes) {
        if (lane.node !== node) continue;
        for (const process of lane.processes) this.laneOf.set(process, this.rows.length);
        const rows = joined(lane.processes.map((process) => perProcess[process]));
        add({ kind: "lane", label: laneLabel(run, lane), title: laneTitle(run, lane), rows }, laneHeight);
      }
    }
    return top;
  }

  private rowsByProcess(): Uint32Array[] {
    const { process, count } = this.run.operations;
    const counts = new Uint32Array(this.run.processes.length);
    for (let row = 0; row < count; row++) counts[process[row]]++;
    const rows = Array.from(counts, (size) => new Uint32Array(size));
    counts.fill(0);
    for (let row = 0; row < count; row++) rows[process[row]][counts[process[row]]++] = row;
    return rows;
  }

  private build(): void {
    const spacer = document.createElement("div");
    const height = Math.min(MOST_HEIGHT, this.total + AXIS);
    this.scroller.className = "scroller";
    this.scroller.style.height = `${height}px`;
    spacer.style.height = `${this.total + AXIS}px`;
    this.canvas.setAttribute("aria-hidden", "true");
    this.tip.className = "tip";
    this.tip.hidden = true;
    spacer.append(this.canvas);
    this.scroller.append(spacer);
    this.place.append(this.scroller, this.tip);
    this.scroller.addEventListener("scroll", () => this.draw());
  }

  // Looking things up

  private x(time: number): number {
    return this.view.x(time, this.width);
  }

  private time(x: number): number {
    return this.view.time(x, this.width);
  }

  private at(x: number, y: number): Choice | null {
    const offset = y + this.scroller.scrollTop;
    const row = this.rowAt(offset);
    if (row === undefined || x < GUTTER || y > this.scroller.clientHeight - AXIS) return null;
    const time = this.time(x);
    const slack = (3 * (this.view.to - this.view.from)) / (this.width - GUTTER);
    const covers = (position: number): boolean => {
      const fault = this.run.faults[position];
      if (fault.skipped !== null && this.x(time) > this.x(fault.start) + SKIPPED_WIDTH) return false;
      return time >= fault.start - slack && time <= (fault.end ?? this.run.span) + slack;
    };
    if (row.kind === "faults") {
      const found = row.faults.find(covers);
      return found === undefined ? null : { fault: found };
    }
    if (row.kind === "node") {
      const mark = this.run.marks.findIndex((m) => m.node === row.node && Math.abs(m.time - time) <= 2 * slack);
      if (mark >= 0) return { mark };
      const subRow = Math.min(row.effects.length - 1, Math.max(0, Math.floor((offset - row.top - 3) / EFFECT_ROW)));
      const effect = row.effects[subRow]?.find(([position]) => covers(position));
      return effect === undefined ? null : { fault: effect[0] };
    }
    return this.operationAt(row, time, slack);
  }

  private rowAt(offset: number): Row | undefined {
    return this.rows.find((candidate) => offset >= candidate.top && offset < candidate.top + candidate.height);
  }

  private operationAt(row: LaneRow, time: number, slack: number): Choice | null {
    const { start, duration } = this.run.operations;
    let [best, distance] = [-1, Infinity];
    const after = this.firstAfter(row.rows, time);
    for (let i = Math.max(0, after - 3); i < Math.min(row.rows.length, after + 3); i++) {
      const operation = row.rows[i];
      const end = start[operation] + duration[operation];
      const away = time < start[operation] ? start[operation] - time : time > end ? time - end : 0;
      // Of two that are equally near the one with an anomaly is meant, then the later one.
      const weighed = away - (this.run.anomalyOf.has(operation) ? slack : 0);
      if (away <= slack && weighed <= distance) [best, distance] = [operation, weighed];
    }
    return best < 0 ? null : { operation: best };
  }

  /** Position of the first operation of a lane that starts after `time`. */
  private firstAfter(rows: Uint32Array, time: number): number {
    const { start } = this.run.operations;
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (start[rows[middle]] <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // People

  private wire(): void {
    const { canvas, place, view } = this;
    let press: { x: number; from: number; moved: boolean } | null = null;
    canvas.addEventListener("pointerdown", (event) => {
      press = { x: event.offsetX, from: view.from, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (press !== null && Math.abs(event.offsetX - press.x) > 3) press.moved = true;
      if (press?.moved) {
        const width = view.to - view.from;
        const from = press.from + ((press.x - event.offsetX) / (this.width - GUTTER)) * width;
        view.set(from, from + width);
        this.tip.hidden = true;
      } else this.hover(event.offsetX, event.offsetY);
    });
    canvas.addEventListener("pointerup", (event) => {
      const choice = press !== null && !press.moved ? this.at(event.offsetX, event.offsetY) : null;
      press = null;
      if (choice !== null) this.choose(choice);
    });
    canvas.addEventListener("pointerleave", () => (this.tip.hidden = true));
    canvas.addEventListener("dblclick", (event) => view.zoom(0.25, this.time(event.offsetX)));
    place.addEventListener(
      "wheel",
      (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey) {
          event.preventDefault();
          view.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 200))), this.time(event.offsetX));
        } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
          event.preventDefault();
          view.pan(((event.deltaX || event.deltaY) / (this.width - GUTTER)) * (view.to - view.from));
        }
      },
      { passive: false },
    );
    place.addEventListener("keydown", (event) => this.key(event));
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = (this.view.to - this.view.from) / 5;
    const acts: Record<string, () => void> = {
      ArrowLeft: () => this.view.pan(-step),
      ArrowRight: () => this.view.pan(step),
      ArrowUp: () => (this.scroller.scrollTop -= 40),
      ArrowDown: () => (this.scroller.scrollTop += 40),
      "+": () => this.view.zoom(0.5),
      "=": () => this.view.zoom(0.5),
      "-": () => this.view.zoom(2),
      "0": () => this.view.all(),
      Backspace: () => this.view.back(),
      n: () => this.step(1),
      p: () => this.step(-1),
    };
    const act = acts[event.key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  }

  /** Chooses the next or the previous operation of the same lane; without one, the first in view. */
  private step(by: 1 | -1): void {
    const { operations } = this.run;
    if (operations.count === 0) return;
    let next: number;
    if (this.chosen !== null && "operation" in this.chosen) {
      const row = this.rows[this.laneOf.get(operations.process[this.chosen.operation]) ?? 0];
      if (row.kind !== "lane") return;
      next = row.rows[row.rows.indexOf(this.chosen.operation) + by];
      if (next === undefined) return;
    } else next = Math.min(operations.count - 1, lowerBound(operations.start, this.view.from));
    const start = operations.start[next];
    if (start < this.view.from || start > this.view.to) {
      const half = (this.view.to - this.view.from) / 2;
      this.view.set(start - half, start + half);
    }
    this.choose({ operation: next });
  }

  private hover(x: number, y: number): void {
    const choice = this.at(x, y);
    this.canvas.style.cursor = choice === null ? "grab" : "pointer";
    const row = x < GUTTER ? this.rowAt(y + this.scroller.scrollTop) : undefined;
    const words = choice !== null ? this.describe(choice) : row?.kind === "lane" ? row.title : null;
    this.tip.hidden = words === null;
    if (words === null) return;
    this.tip.textContent = words;
    const flip = x > this.width * 0.6;
    this.tip.style.left = flip ? "" : `${x + 14}px`;
    this.tip.style.right = flip ? `${this.width - x + 14}px` : "";
    this.tip.style.top = `${y + 18}px`;
  }

  private describe(choice: Choice): string {
    const { run } = this;
    if ("fault" in choice) {
      const fault = run.faults[choice.fault];
      const end = fault.end === null ? "the end of the record" : seconds(fault.end, 2);
      return `${fault.label}\n${seconds(fault.start, 2)} to ${end}; ${fault.took_effect ? "took effect" : "did not take effect"}`;
    }
    if ("mark" in choice) return `${seconds(run.marks[choice.mark].time)} ${visible(run.marks[choice.mark].text)}`;
    const { outcome, start, duration: lengths } = run.operations;
    const row = choice.operation;
    const anomaly = run.anomalyOf.get(row);
    const about = anomaly === undefined ? "" : `\n${visible(run.anomalies[anomaly].type)}`;
    const text = summary(run, row);
    return `${text.length > 160 ? `${text.slice(0, 160)}…` : text}\n${OUTCOMES[outcome[row]]}, ${seconds(start[row])}, ${duration(lengths[row])}${about}`;
  }

  // Drawing

  private paint(): void {
    this.width = this.scroller.clientWidth;
    const height = this.scroller.clientHeight;
    if (this.width === 0) return;
    const context = pen(this.canvas, this.width, height);
    const top = this.scroller.scrollTop;
    context.font = SMALL;
    context.textBaseline = "middle";
    this.paintFaultColumns(context, height);
    for (const row of this.rows) {
      const y = row.top - top;
      if (y + row.height < 0 || y > height - AXIS) continue;
      if (row.kind === "faults") this.paintFaults(context, row, y);
      else if (row.kind === "node") this.paintNode(context, row, y, row.height);
      else this.paintLane(context, row, y, row.height);
    }
    this.paintAnomalies(context, top, height);
    this.paintAxis(context, height);
  }

  private paintFaultColumns(context: CanvasRenderingContext2D, height: number): void {
    for (const fault of this.run.faults) {
      if (fault.effective === null) continue;
      const [left, right] = this.clipped(fault.effective, fault.end ?? this.run.span);
      if (right <= left) continue;
      context.fillStyle = faultColour(fault.fault);
      context.globalAlpha = 0.08;
      context.fillRect(left, 0, right - left, height - AXIS);
    }
    context.globalAlpha = 1;
  }

  private clipped(from: number, to: number): [number, number] {
    return [Math.max(GUTTER, this.x(from)), Math.min(this.width, this.x(to))];
  }

  private label(context: CanvasRenderingContext2D, text: string, y: number, height: number, bold: boolean): void {
    context.font = bold ? BOLD : SMALL;
    context.fillStyle = bold ? this.theme.text : this.theme.quiet;
    context.fillText(fitted(context, text, GUTTER - (bold ? 10 : 20)), bold ? 6 : 14, y + height / 2);
    context.font = SMALL;
  }

  private paintFaults(context: CanvasRenderingContext2D, row: FaultRow, y: number): void {
    if (y === -this.scroller.scrollTop) this.label(context, "faults", y, HEADER_ROW, true);
    for (const position of row.faults) this.paintBar(context, position, y + 2, HEADER_ROW - 4, null);
  }

  private paintBar(context: CanvasRenderingContext2D, position: number, y: number, height: number, text: string | null): void {
    const fault = this.run.faults[position];
    const colour = faultColour(fault.fault);
    const end = fault.end ?? this.run.span;
    const [left, unskipped] = this.clipped(fault.start, end);
    const right = fault.skipped === null ? unskipped : Math.min(unskipped, this.x(fault.start) + SKIPPED_WIDTH);
    if (right < GUTTER || left > this.width || right < left) return;
    const [solidLeft, solidRight] = fault.effective === null ? [0, 0] : this.clipped(fault.effective, end);
    context.fillStyle = colour;
    context.globalAlpha = 0.15;
    context.fillRect(left, y, Math.max(2, right - left), height);
    context.globalAlpha = 0.4;
    if (fault.effective !== null) context.fillRect(solidLeft, y, Math.max(2, solidRight - solidLeft), height);
    context.globalAlpha = 1;
    context.strokeStyle = colour;
    if (fault.effective === null) context.setLineDash([3, 3]);
    context.strokeRect(left + 0.5, y + 0.5, Math.max(1, right - left - 1), height - 1);
    context.setLineDash([]);
    const isChosen = this.chosen !== null && "fault" in this.chosen && this.chosen.fault === position;
    if (isChosen) {
      context.strokeStyle = this.theme.text;
      context.lineWidth = 2;
      context.strokeRect(left, y, Math.max(2, right - left), height);
      context.lineWidth = 1;
    }
    context.fillStyle = this.theme.text;
    const state = fault.skipped !== null ? " (skipped)" : fault.took_effect ? "" : " (no effect)";
    const names = [fault.label, fault.name, fault.fault].map((name) => `${name}${state}`);
    const texts = [...(text === null ? [] : [text]), ...names, fault.fault, faultCode(fault)].map(visible);
    context.fillText(firstThatFits(context, texts, right - left - 6), left + 4, y + height / 2);
  }

  private paintNode(context: CanvasRenderingContext2D, row: NodeRow, y: number, height: number): void {
    context.fillStyle = this.theme.raised;
    context.fillRect(0, y, GUTTER, height);
    context.fillStyle = this.theme.line;
    context.fillRect(0, y, this.width, 1);
    this.label(context, row.node === "" ? "no node" : visible(row.node), y, height, true);
    row.effects.forEach((effects, subRow) => {
      for (const [position, text] of effects) this.paintBar(context, position, y + 3 + subRow * EFFECT_ROW, EFFECT_ROW - 2, text);
    });
    context.fillStyle = this.theme.text;
    this.run.marks.forEach((mark) => {
      if (mark.node !== row.node) return;
      const x = this.x(mark.time);
      if (x < GUTTER || x > this.width) return;
      context.beginPath();
      context.moveTo(x, y + 3);
      context.lineTo(x + 4, y + 10);
      context.lineTo(x, y + 17);
      context.lineTo(x - 4, y + 10);
      context.fill();
    });
  }

  private paintLane(context: CanvasRenderingContext2D, row: LaneRow, y: number, height: number): void {
    if (height >= 9) this.label(context, row.label, y, height, false);
    const { start, duration: lengths, outcome } = this.run.operations;
    const { rows } = row;
    const scale = (this.width - GUTTER) / (this.view.to - this.view.from);
    const [top, size] = [y + 1, height - 2];
    let first = Math.max(0, this.firstAfter(rows, this.view.from) - 1);
    // An operation that ended in info may overlap those of the process's successor; look at one more.
    first = Math.max(0, first - 1);
    let pixel = -1;
    let worst = -1;
    const flush = (): void => {
      if (worst < 0) return;
      context.fillStyle = this.theme.outcomes[worst];
      context.fillRect(pixel, top, 1, size);
      worst = -1;
    };
    for (let i = first; i < rows.length; i++) {
      const operation = rows[i];
      if (start[operation] > this.view.to) break;
      const left = GUTTER + (start[operation] - this.view.from) * scale;
      const right = left + lengths[operation] * scale;
      if (right < GUTTER) continue;
      const kind = outcome[operation];
      if (right - left < 1.5) {
        const column = Math.max(GUTTER, Math.floor(left));
        if (column !== pixel) flush();
        pixel = column;
        if (kind > worst) worst = kind;
        continue;
      }
      flush();
      this.paintOperation(context, operation, kind, left, right, top, size);
    }
    flush();
  }

  private paintOperation(
    context: CanvasRenderingContext2D,
    operation: number,
    kind: number,
    left: number,
    right: number,
    top: number,
    size: number,
  ): void {
    const [from, to] = [Math.max(GUTTER, left), Math.min(this.width, kind === OPEN ? this.width : right)];
    context.fillStyle = this.theme.outcomes[kind];
    context.globalAlpha = kind === OK ? 0.55 : kind >= INFO ? 0.5 : 0.35;
    context.fillRect(from, top, to - from, size);
    context.globalAlpha = 1;
    // The invocation is a firm edge. So is a completion; after info there is none: it may still happen.
    context.fillRect(from, top, 1.5, size);
    if (kind < INFO) context.fillRect(to - 1.5, top, 1.5, size);
    if (kind !== OK) {
      context.strokeStyle = this.theme.outcomes[kind];
      if (kind >= INFO) context.setLineDash([4, 3]);
      context.strokeRect(from + 0.5, top + 0.5, Math.max(1, to - from - 1), size - 1);
      context.setLineDash([]);
    }
    if (to - from > 26 && size >= 11) {
      context.fillStyle = this.theme.text;
      context.fillText(fitted(context, shortSummary(this.run, operation), to - from - 8), from + 4, top + size / 2 + 0.5);
    }
  }

  private paintAnomalies(context: CanvasRenderingContext2D, scrollTop: number, height: number): void {
    const { start, duration: lengths, process } = this.run.operations;
    const outline = (operation: number, colour: string, wider: number): void => {
      const row = this.rows[this.laneOf.get(process[operation]) ?? 0];
      const left = this.x(start[operation]);
      const right = this.x(start[operation] + lengths[operation]);
      const y = row.top - scrollTop;
      if (right < GUTTER || left > this.width || y < -row.height || y > height - AXIS) return;
      context.strokeStyle = colour;
      context.lineWidth = 2;
      const from = Math.max(GUTTER, left);
      context.strokeRect(from - 1 - wider, y - wider, Math.max(4, right - from + 2) + 2 * wider, row.height + 2 * wider);
      context.fillStyle = colour;
      if (left >= GUTTER && wider === 0) {
        context.beginPath();
        context.moveTo(left - 5, y - 5);
        context.lineTo(left + 5, y - 5);
        context.lineTo(left, y + 2);
        context.fill();
      }
      context.lineWidth = 1;
    };
    if (this.chosen !== null && "operation" in this.chosen) outline(this.chosen.operation, this.theme.text, 2);
    for (const operation of this.run.anomalyOf.keys()) outline(operation, this.theme.anomaly, 0);
  }

  private paintAxis(context: CanvasRenderingContext2D, height: number): void {
    const y = height - AXIS;
    context.fillStyle = this.theme.surface;
    context.fillRect(0, y, this.width, AXIS);
    context.fillStyle = this.theme.line;
    context.fillRect(0, y, this.width, 1);
    const step = niceStep(((this.view.to - this.view.from) * 90) / (this.width - GUTTER));
    const digits = Math.max(0, Math.ceil(-Math.log10(step / 1e6) - 1e-9));
    for (let time = Math.ceil(this.view.from / step) * step; time <= this.view.to; time += step) {
      const x = this.x(time);
      context.fillStyle = this.theme.line;
      context.fillRect(x, y, 1, 5);
      context.fillStyle = this.theme.quiet;
      const text = seconds(time, digits);
      const wide = context.measureText(text).width;
      context.fillText(text, Math.min(this.width - wide, Math.max(GUTTER, x - wide / 2)), y + 13);
    }
    this.run.phases.forEach(([phase, time], position) => {
      const x = this.x(time);
      const next = position + 1 < this.run.phases.length ? this.x(this.run.phases[position + 1][1]) : this.width;
      if (x < GUTTER || x > this.width) return;
      context.fillStyle = this.theme.quiet;
      context.fillRect(x, 0, 1, y);
      context.save();
      context.font = BOLD;
      const words = fitted(context, visible(phase), Math.min(90, next - x - 6));
      context.fillStyle = this.theme.surface;
      context.fillRect(x + 1, y + 6, context.measureText(words).width + 6, AXIS - 6);
      context.fillStyle = this.theme.text;
      context.fillText(words, x + 4, y + 13);
      context.restore();
    });
  }
}

/** Puts faults that overlap into different rows. */
function packed(faults: Fault[], span: number): number[][] {
  const rows: { end: number; faults: number[] }[] = [];
  faults.forEach((fault, position) => {
    const end = fault.skipped === null ? (fault.end ?? span) : fault.start + span * 0.1;
    const row = rows.find((candidate) => candidate.end < fault.start);
    if (row === undefined) rows.push({ end, faults: [position] });
    else {
      row.end = end;
      row.faults.push(position);
    }
  });
  return rows.map((row) => row.faults);
}

function joined(parts: Uint32Array[]): Uint32Array {
  const all = new Uint32Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
