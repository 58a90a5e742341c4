// The one time axis: which part of the run is in view. Whoever draws listens; whoever zooms calls `set`.
import { GUTTER } from "./canvas";

export class View {
  from: number;
  to: number;
  private readonly least: number;
  private readonly past: [number, number][] = [];
  private readonly listeners: (() => void)[] = [];
  private lastPush = 0;

  constructor(readonly span: number) {
    this.from = -0.005 * span;
    this.to = 1.005 * span;
    this.least = 20;
  }

  /** Where a time stands in a drawing of this width, right of its gutter. */
  x(time: number, width: number): number {
    return GUTTER + ((time - this.from) / (this.to - this.from)) * (width - GUTTER);
  }

  /** Which time stands there. */
  time(x: number, width: number): number {
    return this.from + ((x - GUTTER) / (width - GUTTER)) * (this.to - this.from);
  }

  listen(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Shows `from` to `to` (microseconds), kept within the run. Small moves in quick succession are one step back. */
  set(from: number, to: number, now = performance.now()): void {
    const margin = 0.005 * this.span;
    const width = Math.min(Math.max(to - from, this.least), this.span + 2 * margin);
    const start = Math.min(Math.max((from + to - width) / 2, -margin), this.span + margin - width);
    if (start === this.from && start + width === this.to) return;
    if (now - this.lastPush > 700) this.past.push([this.from, this.to]);
    this.lastPush = now;
    this.from = start;
    this.to = start + width;
    for (const listener of this.listeners) listener();
  }

  zoom(factor: number, around = (this.from + this.to) / 2): void {
    this.set(around - (around - this.from) * factor, around + (this.to - around) * factor);
  }

  pan(by: number): void {
    this.set(this.from + by, this.to + by);
  }

  all(): void {
    this.set(-this.span, 2 * this.span);
  }

  back(): void {
    const before = this.past.pop();
    if (before === undefined) return;
    this.lastPush = Infinity;
    this.set(...before, this.lastPush);
    this.lastPush = 0;
  }
}
