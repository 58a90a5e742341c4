// Latency and throughput over the time in view, with the faults shaded behind them (uPlot, and our own points).
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { afterAPause, GUTTER, niceStep, onceAFrame } from "./canvas";
import { swatch } from "./looks";
import { duration, FAIL, Fault, INFO, lowerBound, OK, Run } from "./run";
import { faultColour, readTheme } from "./theme";
import { View } from "./view";

const BUCKETS = 110;
/** Half of the room, in pixels, that the label of a time takes. */
const HALF_LABEL = 20;
/** Narrower buckets, in microseconds, would say more about chance than about the database. */
const LEAST_BUCKET = 100_000;
/** Above this many points in view each is one small square, and points on the same pixels are drawn once. */
const MANY = 25_000;
/** Above this many signs for what is not ok they are small, or few in a hundred would hide all the rest. */
const MOST_SIGNS = 3_000;
/** With more operations than this in the run, plots follow the time line when it rests. */
const VERY_MANY = 200_000;

/** A line as it is drawn, and as the legend shows it. */
interface Line {
  label: string;
  /** The name of its colour in the style sheet. */
  colour: string;
  width: number;
  dash: number[];
}

const LATENCY_LINES: Line[] = [
  { label: "median", colour: "--text", width: 2, dash: [] },
  { label: "p95", colour: "--p95", width: 1.5, dash: [7, 3] },
  { label: "p99", colour: "--p99", width: 1.5, dash: [2, 2] },
  { label: "max", colour: "--max", width: 1.5, dash: [1, 3] },
];
/** In the order of the outcomes' numbers. */
const THROUGHPUT_LINES: Line[] = [
  { label: "ok", colour: "--ok", width: 2, dash: [] },
  { label: "fail", colour: "--fail", width: 2, dash: [6, 3] },
  { label: "info", colour: "--info", width: 2, dash: [2, 2] },
];

export interface Picked {
  operation(row: number): void;
}

export class Plots {
  private readonly latency: uPlot;
  private readonly throughput: uPlot;
  private readonly refresh: () => void;
  private fromIntended = false;
  private theme = readTheme();
  private readonly answers = new Map<string, { key: string; answer: unknown }>();

  constructor(
    private readonly latencyPlace: HTMLElement,
    throughputPlace: HTMLElement,
    private readonly run: Run,
    private readonly view: View,
    picked: Picked,
  ) {
    this.latency = new uPlot(this.latencyOptions(), this.latencyData(), latencyPlace);
    this.throughput = new uPlot(this.throughputOptions(), this.throughputData(), throughputPlace);
    this.refresh = run.operations.count > VERY_MANY ? afterAPause(() => this.update()) : onceAFrame(() => this.update());
    describeLines(this.latency, LATENCY_LINES, (value) => duration(value * 1000));
    describeLines(this.throughput, THROUGHPUT_LINES, (value) => `${value.toFixed(value < 10 ? 1 : 0)}/s`);
    view.listen(this.refresh);
    this.latency.over.addEventListener("click", (event) => {
      const row = this.nearest(event.offsetX, event.offsetY);
      if (row >= 0) picked.operation(row);
    });
    new ResizeObserver(() => this.resize()).observe(latencyPlace);
  }

  /** Redraws with the colours of the day, if they are others. */
  recolour(): void {
    const theme = readTheme();
    if (JSON.stringify(theme) === JSON.stringify(this.theme)) return;
    this.theme = theme;
    this.refresh();
  }

  /** Measures latency from the intended start of an operation instead of the actual one. */
  measureFromIntended(yes: boolean): void {
    this.fromIntended = yes;
    this.refresh();
  }

  private resize(): void {
    const width = this.latencyPlace.clientWidth;
    if (width === this.latency.width) return;
    this.latency.setSize({ width, height: 240 });
    this.throughput.setSize({ width, height: 150 });
  }

  private update(): void {
    const x = { min: this.view.from / 1e6, max: this.view.to / 1e6 };
    // One drawing each, however many scales change.
    this.latency.batch(() => {
      this.latency.setData(this.latencyData(), false);
      this.latency.setScale("x", x);
      this.latency.setScale("y", this.latencyRange());
    });
    this.throughput.batch(() => {
      this.throughput.setData(this.throughputData(), false);
      this.throughput.setScale("x", x);
      this.throughput.setScale("y", this.throughputRange());
    });
  }

  private throughputRange(): { min: number; max: number } {
    const counted = this.throughputData().slice(1) as number[][];
    const most = counted.flat().reduce((a, b) => Math.max(a, b ?? 0), 0);
    return { min: 0, max: Math.max(1, most * 1.1) };
  }

  private latencyOf(row: number): number {
    const { lag, duration } = this.run.operations;
    return duration[row] + (this.fromIntended && lag !== null ? Math.max(0, lag[row]) : 0);
  }

  private buckets(): { first: number; width: number; count: number } {
    const width = Math.max(LEAST_BUCKET, niceStep((this.view.to - this.view.from) / BUCKETS));
    const first = Math.floor(this.view.from / width);
    return { first, width, count: Math.ceil(this.view.to / width) - first };
  }

  private rowsInView(): [number, number] {
    const { start } = this.run.operations;
    return [lowerBound(start, this.view.from), lowerBound(start, this.view.to)];
  }

  /** Median, p95, p99 and maximum of the ok operations that started in each bucket, in milliseconds. */
  private latencyData(): uPlot.AlignedData {
    return this.kept("latency", () => this.countLatency());
  }

  private throughputData(): uPlot.AlignedData {
    return this.kept("throughput", () => this.countThroughput());
  }

  /** The last answer, as long as nothing has changed that it depends on: of a million operations it takes a while. */
  private kept<Answer>(name: string, make: () => Answer): Answer {
    const key = `${this.view.from} ${this.view.to} ${this.fromIntended}`;
    const before = this.answers.get(name);
    if (before?.key === key) return before.answer as Answer;
    const answer = make();
    this.answers.set(name, { key, answer });
    return answer;
  }

  private countLatency(): uPlot.AlignedData {
    const { first, width, count } = this.buckets();
    const { start, outcome } = this.run.operations;
    const lines = [0, 1, 2, 3].map(() => new Array<number | null>(count).fill(null));
    let row = lowerBound(start, first * width);
    for (let bucket = 0; bucket < count; bucket++) {
      const end = lowerBound(start, (first + bucket + 1) * width, row);
      const sorted = new Float64Array(end - row);
      let kept = 0;
      for (; row < end; row++) if (outcome[row] === OK) sorted[kept++] = this.latencyOf(row);
      const values = sorted.subarray(0, kept).sort();
      if (kept === 0) continue;
      [0.5, 0.95, 0.99, 1].forEach((quantile, line) => {
        lines[line][bucket] = Math.max(0.001, values[Math.max(0, Math.ceil(quantile * kept) - 1)] / 1000);
      });
    }
    return stepped(first, width, lines);
  }

  private countThroughput(): uPlot.AlignedData {
    const { first, width, count } = this.buckets();
    const { operations } = this.run;
    const counts = [0, 1, 2].map(() => new Array<number>(count).fill(0));
    for (let row = 0; row < operations.count; row++) {
      const bucket = Math.floor((operations.start[row] + operations.duration[row]) / width) - first;
      if (bucket >= 0 && bucket < count) counts[Math.min(INFO, operations.outcome[row])][bucket]++;
    }
    for (const line of counts) for (let i = 0; i < count; i++) line[i] *= 1e6 / width;
    return stepped(first, width, counts);
  }

  private latencyRange(): { min: number; max: number } {
    return this.kept("range", () => this.findLatencyRange());
  }

  private findLatencyRange(): { min: number; max: number } {
    const [low, high] = this.rowsInView();
    let [least, most] = [Infinity, 0];
    for (let row = low; row < high; row++) {
      const value = this.latencyOf(row);
      if (value > most) most = value;
      if (value > 0 && value < least) least = value;
    }
    if (most === 0) return { min: 0.1, max: 100 };
    return { min: Math.max(0.001, (least / 1000) * 0.8), max: Math.max((least / 1000) * 4, (most / 1000) * 1.3) };
  }

  private options(height: number, place: HTMLElement | null): Omit<uPlot.Options, "series"> {
    const axis = (more: uPlot.Axis): uPlot.Axis => ({
      stroke: () => this.theme.quiet,
      grid: { stroke: () => this.theme.line, width: 1 },
      ticks: { stroke: () => this.theme.line, width: 1 },
      font: "11px system-ui, sans-serif",
      ...more,
    });
    return {
      width: place?.clientWidth || 900,
      height,
      padding: [8, 0, 0, 0],
      cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false }, sync: { key: "run" } },
      legend: { show: false },
      scales: { x: { time: false, auto: false, min: this.view.from / 1e6, max: this.view.to / 1e6 } },
      axes: [axis({ values: timeLabels, space: 70 }), axis({ size: GUTTER })],
      hooks: {
        drawClear: [(plot) => this.shadeFaults(plot)],
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            if (width < 4) return;
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            this.view.set(plot.posToVal(left, "x") * 1e6, plot.posToVal(left + width, "x") * 1e6);
          },
        ],
      },
    };
  }

  private latencyOptions(): uPlot.Options {
    const shared = this.options(240, this.latencyPlace);
    // uPlot's own ticks of a logarithmic axis can take half a minute when the range begins at an odd number.
    shared.axes![1].splits = (_, __, min, max) => logarithmicTicks(min, max);
    shared.axes![1].filter = (_, ticks) => ticks;
    shared.axes![1].values = (_, ticks) => ticks.map((tick) => (tick === null ? null : tick >= 1000 ? `${tick / 1000} s` : tick >= 1 ? `${tick} ms` : `${+(tick * 1000).toFixed(3)} µs`));
    return {
      ...shared,
      scales: { ...shared.scales, y: { distr: 3, auto: false, ...this.latencyRange() } },
      hooks: { ...shared.hooks, drawAxes: [(plot) => this.drawPoints(plot)] },
      series: [{}, ...LATENCY_LINES.map((line, position) => series(line, () => this.theme.quantiles[position]))],
    };
  }

  private throughputOptions(): uPlot.Options {
    const shared = this.options(150, this.latencyPlace);
    return {
      ...shared,
      scales: { ...shared.scales, y: { auto: false, ...this.throughputRange() } },
      series: [{}, ...THROUGHPUT_LINES.map((line, outcome) => series(line, () => this.theme.outcomes[outcome]))],
    };
  }

  private shadeFaults(plot: uPlot): void {
    const { ctx, bbox } = plot;
    const x = (time: number): number => plot.valToPos(time / 1e6, "x", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const fault of this.run.faults) this.shadeFault(ctx, bbox, fault, x);
    ctx.strokeStyle = this.theme.quiet;
    ctx.setLineDash([4, 4]);
    for (const [, time] of this.run.phases) {
      ctx.beginPath();
      ctx.moveTo(x(time), bbox.top);
      ctx.lineTo(x(time), bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  private shadeFault(ctx: CanvasRenderingContext2D, bbox: uPlot.BBox, fault: Fault, x: (time: number) => number): void {
    if (fault.skipped !== null) return;
    const end = fault.end ?? this.run.span;
    ctx.fillStyle = faultColour(fault.fault);
    const effective = fault.effective ?? end;
    ctx.globalAlpha = 0.08;
    ctx.fillRect(x(fault.start), bbox.top, Math.max(1, x(effective) - x(fault.start)), bbox.height);
    if (fault.effective === null) return;
    ctx.globalAlpha = 0.2;
    ctx.fillRect(x(effective), bbox.top, Math.max(1, x(end) - x(effective)), bbox.height);
    ctx.globalAlpha = 1;
    ctx.fillRect(x(effective), bbox.top, Math.max(1, x(end) - x(effective)), 3 * devicePixelRatio);
  }

  /** Every operation in view, what is not ok above the rest; points that share a cell are drawn once. */
  private drawPoints(plot: uPlot): void {
    const { ctx, bbox } = plot;
    const [low, high] = this.rowsInView();
    const ratio = devicePixelRatio || 1;
    const many = high - low > MANY;
    const size = (many ? 1.5 : high - low > 2000 ? 2.5 : 4) * ratio;
    const [x, y] = this.scales(plot);
    // The cells of what is not ok are larger, as its signs are.
    const cells = [OK, FAIL, INFO].map((kind) => new Cells(bbox, kind === OK || !many ? size : 4 * ratio));
    const drawn: [number, number][][] = [[], [], []];
    for (let row = low; row < high; row++) {
      const kind = Math.min(INFO, this.run.operations.outcome[row]);
      const [left, top] = [x(row), y(row)];
      if (cells[kind].take(left, top) && (kind !== OK || !many)) drawn[kind].push([left, top]);
    }
    const sign = (drawn[FAIL].length + drawn[INFO].length > MOST_SIGNS ? 1.5 : 4) * ratio;
    ctx.save();
    ctx.globalAlpha = 0.55;
    if (many) cells[OK].draw(ctx, bbox, this.theme.outcomes[OK]);
    for (const kind of [OK, FAIL, INFO]) {
      ctx.fillStyle = this.theme.outcomes[kind];
      ctx.globalAlpha = kind === OK ? 0.55 : 0.9;
      for (const [left, top] of drawn[kind]) this.drawPoint(ctx, kind, bbox.left + left, bbox.top + top, kind === OK ? size : sign);
    }
    ctx.globalAlpha = 1;
    ctx.strokeStyle = this.theme.anomaly;
    ctx.lineWidth = 2 * ratio;
    for (const row of this.run.anomalyOf.keys()) {
      if (row < low || row >= high) continue;
      ctx.beginPath();
      ctx.arc(bbox.left + x(row), bbox.top + y(row), 6 * ratio, 0, 2 * Math.PI);
      ctx.stroke();
    }
    ctx.restore();
  }

  /** Where an operation stands, in pixels from the plot's left and top; quicker than to ask uPlot a million times. */
  private scales(plot: uPlot): [(row: number) => number, (row: number) => number] {
    const { width, height } = plot.bbox;
    const { start } = this.run.operations;
    const { min, max } = plot.scales.y as { min: number; max: number };
    const [from, across] = [this.view.from, width / (this.view.to - this.view.from)];
    const [bottom, rise] = [Math.log10(min), height / (Math.log10(max) - Math.log10(min))];
    return [
      (row) => (start[row] - from) * across,
      (row) => height - (Math.log10(Math.max(min, this.latencyOf(row) / 1000)) - bottom) * rise,
    ];
  }

  /** A square for ok, a triangle for fail, a diamond for info. */
  private drawPoint(ctx: CanvasRenderingContext2D, kind: number, x: number, y: number, size: number): void {
    if (kind === OK) {
      ctx.fillRect(x - size / 2, y - size / 2, size, size);
      return;
    }
    ctx.beginPath();
    ctx.moveTo(x, y - size);
    ctx.lineTo(x + size, kind === FAIL ? y + size : y);
    if (kind === INFO) ctx.lineTo(x, y + size);
    ctx.lineTo(x - size, kind === FAIL ? y + size : y);
    ctx.fill();
  }

  private nearest(left: number, top: number): number {
    const [low, high] = this.rowsInView();
    const { start } = this.run.operations;
    let [best, bestDistance] = [-1, 15 * 15];
    for (let row = low; row < high; row++) {
      const dx = this.latency.valToPos(start[row] / 1e6, "x") - left;
      if (dx * dx > bestDistance) continue;
      const dy = this.latency.valToPos(Math.max(0.001, this.latencyOf(row) / 1000), "y") - top;
      const distance = dx * dx + dy * dy;
      if (distance < bestDistance) [best, bestDistance] = [row, distance];
    }
    return best;
  }
}

/** A grid over a plot: which of its cells have a point. */
class Cells {
  private readonly columns: number;
  private readonly taken: Uint8Array;

  constructor(
    bbox: uPlot.BBox,
    private readonly size: number,
  ) {
    this.columns = Math.ceil(bbox.width / size) + 1;
    this.taken = new Uint8Array(this.columns * (Math.ceil(bbox.height / size) + 1));
  }

  /** Whether the cell of this point was free; it is taken from now on. */
  take(left: number, top: number): boolean {
    const place = Math.floor(left / this.size) + this.columns * Math.max(0, Math.floor(top / this.size));
    const free = this.taken[place] !== 1;
    this.taken[place] = 1;
    return free;
  }

  /** All that are taken, as one picture laid over the grid: a dot a cell. */
  draw(ctx: CanvasRenderingContext2D, bbox: uPlot.BBox, colour: string): void {
    const { columns, taken, size } = this;
    const picture = document.createElement("canvas");
    [picture.width, picture.height] = [columns, taken.length / columns];
    const image = new ImageData(columns, picture.height);
    for (let place = 0; place < taken.length; place++) image.data[4 * place + 3] = 255 * taken[place];
    const pen = picture.getContext("2d")!;
    pen.putImageData(image, 0, 0);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = colour;
    pen.fillRect(0, 0, columns, picture.height);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(picture, bbox.left, bbox.top, columns * size, picture.height * size);
  }
}

function series(line: Line, stroke: () => string): uPlot.Series {
  return {
    label: line.label,
    stroke,
    width: line.width,
    dash: line.dash,
    spanGaps: false,
    points: { show: false },
    paths: uPlot.paths.stepped!({ align: 1 }),
  };
}

/** A legend below the plot: each line as it is drawn; under the cursor its value; a click hides or shows it. */
function describeLines(plot: uPlot, lines: Line[], words: (value: number) => string): void {
  const legend = document.createElement("div");
  legend.className = "lines";
  const values = lines.map((line, position) => {
    const [button, value] = [document.createElement("button"), document.createElement("b")];
    button.type = "button";
    button.title = `Hide or show ${line.label}`;
    button.setAttribute("aria-pressed", "true");
    button.append(swatch(`var(${line.colour})`, line.dash, line.width), line.label, value);
    button.addEventListener("click", () => {
      const show = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(show));
      plot.setSeries(position + 1, { show });
    });
    legend.append(button);
    return value;
  });
  plot.root.after(legend);
  (plot.hooks.setCursor ??= []).push(() => {
    const { idx } = plot.cursor;
    values.forEach((element, position) => {
      const value = idx === null || idx === undefined ? null : plot.data[position + 1][idx];
      element.textContent = value === null || value === undefined ? "" : words(value);
    });
  });
}

/** Labels of the time axis; a tick so close to the right edge that its label would be cut off has none. */
function timeLabels(plot: uPlot, ticks: number[]): (string | null)[] {
  const { min = 0, max = 1 } = plot.scales.x as { min?: number; max?: number };
  const pixels = (plot.width - GUTTER) / (max - min);
  return ticks.map((tick) => ((max - tick) * pixels < HALF_LABEL ? null : `${+tick.toFixed(6)} s`));
}

/** 1, 2 and 5 times the powers of ten between `min` and `max`; only the powers if there are more than three. */
function logarithmicTicks(min: number, max: number): number[] {
  const ticks: number[] = [];
  const factors = max / min > 1000 ? [1] : [1, 2, 5];
  for (let power = Math.floor(Math.log10(min)); power <= Math.log10(max); power++) {
    for (const factor of factors) {
      const tick = Number(`${factor}e${power}`);
      if (tick >= min && tick <= max) ticks.push(tick);
    }
  }
  return ticks;
}

/** Columns for stepped lines: each value from its bucket's start to the next one's, the last to its own end. */
function stepped(first: number, width: number, lines: (number | null)[][]): uPlot.AlignedData {
  const count = lines[0].length;
  const x = Array.from({ length: count + 1 }, (_, bucket) => ((first + bucket) * width) / 1e6);
  return [x, ...lines.map((line) => [...line, line[count - 1]])];
}
