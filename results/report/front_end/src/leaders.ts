// Who leads each range over time: a row a range, a colour and a letter-sized pattern a node, a line for each new term.
import { fitted, GUTTER, onceAFrame, pen, SMALL } from "./canvas";
import { Run, seconds, visible } from "./run";
import { readTheme } from "./theme";
import { View } from "./view";

const ROW = 16;
/** Okabe and Ito, without the two that are hard to read text on; a node's name stands in its colour where there is room. */
const COLOURS = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d5a30b", "#8c8cd8", "#b07050"];
const UNKNOWN = "#8a8a8a";

export class Leaders {
  readonly draw: () => void;
  private readonly canvas = document.createElement("canvas");

  constructor(
    private readonly place: HTMLElement,
    legend: HTMLElement,
    private readonly run: Run,
    private readonly view: View,
  ) {
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", inWords(run));
    place.append(this.canvas);
    legend.replaceChildren(
      ...run.nodes.map((node, position) => {
        const [item, mark] = [document.createElement("span"), document.createElement("i")];
        mark.textContent = "■";
        mark.style.color = colourOf(position);
        item.append(mark, ` ${visible(node)}`);
        return item;
      }),
    );
    this.draw = onceAFrame(() => this.paint());
    view.listen(this.draw);
    new ResizeObserver(this.draw).observe(place);
    this.canvas.addEventListener("pointermove", (event) => (this.canvas.title = this.told(event.offsetX, event.offsetY)));
  }

  private told(x: number, y: number): string {
    const row = this.run.ranges[Math.floor(y / ROW)];
    if (row === undefined || x < GUTTER) return "";
    const time = this.view.time(x, this.place.clientWidth);
    const now = row.changes.filter(([from]) => from <= time).pop();
    if (now === undefined) return `range ${visible(row.range)}: no leader yet`;
    return `range ${visible(row.range)}: ${this.nameOf(now[1])} since ${seconds(now[0])}, term ${now[2]}`;
  }

  private nameOf(position: number): string {
    return position < 0 ? "another node" : visible(this.run.nodes[position]);
  }

  private paint(): void {
    const width = this.place.clientWidth;
    if (width === 0) return;
    const { run, view } = this;
    const theme = readTheme();
    const context = pen(this.canvas, width, run.ranges.length * ROW + 2);
    context.font = SMALL;
    context.textBaseline = "middle";
    run.ranges.forEach((row, number) => {
      const top = number * ROW;
      context.fillStyle = theme.quiet;
      context.fillText(fitted(context, `range ${visible(row.range)}`, GUTTER - 20), 14, top + ROW / 2);
      row.changes.forEach(([from, node], position) => {
        const until = row.changes[position + 1]?.[0] ?? run.span;
        if (until < view.from || from > view.to) return;
        const left = Math.max(GUTTER, view.x(from, width));
        const right = Math.min(width, view.x(until, width));
        context.fillStyle = colourOf(node);
        context.globalAlpha = 0.75;
        context.fillRect(left, top + 2, Math.max(1, right - left), ROW - 4);
        context.globalAlpha = 1;
        context.fillStyle = theme.text;
        if (view.x(from, width) >= GUTTER) context.fillRect(left, top + 1, 1, ROW - 2);
        context.fillText(fitted(context, this.nameOf(node), right - left - 6), left + 4, top + ROW / 2);
      });
    });
  }
}

function colourOf(node: number): string {
  return node < 0 ? UNKNOWN : COLOURS[node % COLOURS.length];
}

function inWords(run: Run): string {
  const changes = run.ranges.reduce((sum, row) => sum + row.changes.length, 0);
  return `leaders of ${run.ranges.length} ranges over time, ${changes} changes`;
}
