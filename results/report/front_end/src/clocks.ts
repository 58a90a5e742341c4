// How far each node's clock was ahead of real time: a line a node, on the one time axis. The scale is linear around zero
// and logarithmic beyond, since clocks are wrong by milliseconds or by hours.
import { fitted, GUTTER, onceAFrame, pen, SMALL } from "./canvas";
import { LOOKS, swatch } from "./looks";
import { ClockLine, lowerBound, Run, seconds, visible } from "./run";
import { faultColour, readTheme } from "./theme";
import { View } from "./view";

const HEIGHT = 150;
const MARGIN = 12;

export class Clocks {
  readonly draw: () => void;
  private readonly canvas = document.createElement("canvas");
  private readonly told = document.createElement("p");
  /** The largest offset of all, in ms; at least 10, so that noise looks like noise. */
  private readonly most: number;

  constructor(
    private readonly place: HTMLElement,
    legend: HTMLElement,
    private readonly run: Run,
    private readonly view: View,
  ) {
    this.most = Math.max(10, ...run.clocks.map(furthest));
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", inWords(run.clocks));
    this.told.className = "quiet";
    this.told.textContent = inWords(run.clocks);
    place.append(this.canvas, this.told);
    legend.replaceChildren(
      ...run.clocks.map(({ node }, position) => {
        const item = document.createElement("span");
        item.append(swatch(...LOOKS[position % LOOKS.length]), ` ${visible(node)}`);
        return item;
      }),
    );
    this.draw = onceAFrame(() => this.paint());
    view.listen(this.draw);
    new ResizeObserver(this.draw).observe(place);
    this.canvas.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.canvas.addEventListener("pointerleave", () => (this.told.textContent = inWords(run.clocks)));
  }

  private x(time: number): number {
    return this.view.x(time, this.place.clientWidth);
  }

  private y(ahead: number): number {
    const middle = HEIGHT / 2;
    const share = Math.sign(ahead) * (Math.log1p(Math.abs(ahead)) / Math.log1p(this.most));
    return middle - share * (middle - MARGIN);
  }

  private point(x: number): void {
    if (x < GUTTER) return;
    const time = this.view.time(x, this.place.clientWidth);
    const parts = this.run.clocks.map((clock) => {
      const ahead = aheadAt(clock, time);
      return `${visible(clock.node)} ${ahead === null ? "not known" : offset(ahead)}`;
    });
    this.told.textContent = `At ${seconds(Math.max(0, time))}: ${parts.join(", ")}.`;
  }

  private paint(): void {
    const width = this.place.clientWidth;
    if (width === 0) return;
    const theme = readTheme();
    const context = pen(this.canvas, width, HEIGHT);
    context.font = SMALL;
    context.textBaseline = "middle";
    for (const tick of this.ticks()) {
      context.fillStyle = theme.line;
      context.fillRect(GUTTER, Math.round(this.y(tick)), width - GUTTER, 1);
      context.fillStyle = theme.quiet;
      context.fillText(fitted(context, offset(tick), GUTTER - 16), 14, this.y(tick));
    }
    context.save();
    context.beginPath();
    context.rect(GUTTER, 0, width - GUTTER, HEIGHT);
    context.clip();
    for (const fault of this.run.faults) {
      if (fault.effective === null) continue;
      const [left, right] = [this.x(fault.effective), this.x(fault.end ?? this.run.span)];
      context.fillStyle = faultColour(fault.fault);
      context.globalAlpha = fault.fault === "clock" ? 0.18 : 0.07;
      context.fillRect(left, 0, Math.max(1, right - left), HEIGHT);
    }
    context.globalAlpha = 1;
    this.run.clocks.forEach((clock, position) => this.paintLine(context, clock, position));
    context.restore();
  }

  private paintLine(context: CanvasRenderingContext2D, clock: ClockLine, position: number): void {
    const [colour, dash] = LOOKS[position % LOOKS.length];
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 2;
    context.setLineDash(dash);
    for (const line of clock.lines) {
      context.beginPath();
      for (let at = 0; at < line.length; at += 2) context.lineTo(this.x(line[at]), this.y(line[at + 1]));
      context.stroke();
      if (line.length === 2) context.fillRect(this.x(line[0]) - 2, this.y(line[1]) - 2, 4, 4);
    }
    context.setLineDash([]);
    context.lineWidth = 1;
  }

  /** Zero, and powers of ten as far as there is room. */
  private ticks(): number[] {
    const powers: number[] = [];
    for (let power = 10; power <= this.most; power *= 10) powers.push(power);
    const every = Math.max(1, Math.ceil(powers.length / 3));
    const shown = powers.filter((_, at) => (powers.length - 1 - at) % every === 0);
    return [0, ...shown, ...shown.map((power) => -power)];
  }
}

function furthest(clock: ClockLine): number {
  return clock.lines.reduce((most, line) => line.reduce((so, value, at) => (at % 2 === 1 ? Math.max(so, Math.abs(value)) : so), most), 0);
}

function aheadAt(clock: ClockLine, time: number): number | null {
  for (const line of clock.lines) {
    const times = line.filter((_, at) => at % 2 === 0);
    const next = lowerBound(times, time);
    if (next === 0 || next === times.length) continue;
    const [before, after] = [times[next - 1], times[next]];
    const share = after === before ? 1 : (time - before) / (after - before);
    return line[2 * next - 1] + share * (line[2 * next + 1] - line[2 * next - 1]);
  }
  return null;
}

/** `+1.5 s`, `−20 ms`. */
function offset(ms: number): string {
  const size = Math.abs(ms);
  const sign = ms < 0 ? "−" : ms > 0 ? "+" : "";
  if (size >= 3_600_000) return `${sign}${+(size / 3_600_000).toFixed(2)} h`;
  return size >= 1000 ? `${sign}${+(size / 1000).toFixed(2)} s` : `${sign}${+size.toFixed(size < 10 ? 2 : 0)} ms`;
}

function inWords(clocks: ClockLine[]): string {
  const parts = clocks.map((clock) => `${visible(clock.node)} at most ${offset(furthest(clock)).replace("+", "")}`);
  return `Furthest from real time: ${parts.join(", ")}.`;
}
