// The message diagram of a simulated run: a lane a host, an arrow from where a message was sent to where it arrived,
// on the one time axis. Few messages are drawn one by one, with words where there is room; many as how many left each
// host when. What never arrived ends in a cross half way.
import { fitted, GUTTER, niceStep, onceAFrame, pen, SMALL } from "./canvas";
import { Look, LOOKS, swatch } from "./looks";
import { button, PagedTable } from "./paged";
import { duration, lowerBound, Messages, Run, seconds, visible } from "./run";
import { faultColour, readTheme } from "./theme";
import { View } from "./view";

const MOST_ARROWS = 1500;
const MOST_WORDS = 80;
/** Above the first lane, where there is room for how many messages left it; below the last one. */
const TOP = 44;
const BOTTOM = 20;
const AXIS = 20;
const NEAR = 7;
/** How kinds are drawn that are rarer than the first few. */
const OTHER: Look = ["#7d7d7d", []];

export class MessageDiagram {
  readonly draw: () => void;
  private readonly canvas = document.createElement("canvas");
  private readonly tip = document.createElement("div");
  private readonly range = document.createElement("select");
  private readonly host = document.createElement("select");
  private readonly search = document.createElement("input");
  private readonly status = document.createElement("p");
  private readonly told = document.createElement("p");
  private readonly looks: Look[];
  private readonly hidden = new Set<number>();
  private readonly list: List;
  /** The messages in view that pass the filters. */
  private found: number[] = [];
  private chosen = -1;
  private readonly messages: Messages;

  constructor(
    private readonly place: HTMLElement,
    private readonly run: Run,
    private readonly view: View,
  ) {
    this.messages = run.messages!;
    this.looks = looksOf(this.messages);
    this.list = new List(this.messages, (row) => this.choose(row));
    this.draw = onceAFrame(() => this.paint());
    this.build();
    view.listen(this.draw);
    new ResizeObserver(this.draw).observe(place);
  }

  private build(): void {
    const { messages } = this;
    const choice = (select: HTMLSelectElement, label: string, every: string, names: string[]): void => {
      select.setAttribute("aria-label", label);
      select.append(new Option(every, "-1"), ...names.map((name, at) => new Option(name, String(at))));
      select.addEventListener("change", this.draw);
    };
    const ranges = messages.ranges.map((name) => (name === "" ? "no range, or several" : `range ${visible(name)}`));
    choice(this.range, "Messages about", "every range", ranges);
    choice(this.host, "Messages of", "every node", messages.hosts.map((name) => `from or to ${hostName(name)}`));
    this.search.type = "search";
    this.search.placeholder = "Words in messages";
    this.search.setAttribute("aria-label", this.search.placeholder);
    this.search.addEventListener("input", this.draw);
    const controls = document.createElement("p");
    controls.append(this.range, " ", this.host, " ", this.search, " ");
    const [first, last] = [messages.sent[0], messages.sent[messages.count - 1]];
    const margin = Math.max(1000, (last - first) * 0.02);
    controls.append(button("Show all that is kept", () => this.view.set(first - margin, last + margin)));
    this.status.className = "quiet";
    this.status.setAttribute("aria-live", "polite");
    this.told.className = "told";
    this.told.setAttribute("aria-live", "polite");
    this.told.textContent = "Point at an arrow, or press N and P, to read a message.";
    this.tip.className = "tip";
    this.tip.hidden = true;
    const lanes = document.createElement("div");
    lanes.className = "lanes";
    lanes.tabIndex = 0;
    lanes.setAttribute("role", "application");
    lanes.setAttribute("aria-label", "Messages between hosts: N and P step through them, arrow keys move, + and - zoom");
    lanes.append(this.canvas, this.tip);
    this.place.append(controls, this.legend(), lanes, this.status, this.told, this.list.place);
    this.canvas.addEventListener("pointermove", (event) => this.point(event.offsetX, event.offsetY));
    this.canvas.addEventListener("pointerleave", () => (this.tip.hidden = true));
    this.canvas.addEventListener("click", (event) => {
      const row = this.nearest(event.offsetX, event.offsetY);
      if (row >= 0) this.choose(row);
      else if (this.found.length > MOST_ARROWS) this.view.zoom(0.2, this.time(event.offsetX));
    });
    this.canvas.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey) return;
        event.preventDefault();
        this.view.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.time(event.offsetX));
      },
      { passive: false },
    );
    lanes.addEventListener("keydown", (event) => this.press(event));
  }

  /** A button a kind: how it is drawn, and a click hides or shows it. */
  private legend(): HTMLElement {
    const legend = document.createElement("div");
    legend.className = "kinds";
    const counts = countsOf(this.messages);
    const order = this.messages.kinds.map((_, kind) => kind).sort((a, b) => counts[b] - counts[a]);
    for (const kind of order) {
      const [colour, dash] = this.looks[kind];
      const element = button("", () => {
        const show = this.hidden.has(kind);
        if (show) this.hidden.delete(kind);
        else this.hidden.add(kind);
        element.setAttribute("aria-pressed", String(show));
        this.draw();
      });
      element.title = "Hide or show these messages";
      element.setAttribute("aria-pressed", "true");
      element.append(swatch(colour, dash), `${visible(this.messages.kinds[kind])} ${counts[kind].toLocaleString("en")}`);
      legend.append(element);
    }
    return legend;
  }

  private press(event: KeyboardEvent): void {
    const { view } = this;
    const step = (view.to - view.from) / 8;
    const chosen = this.chosen < 0 ? NaN : this.messages.sent[this.chosen];
    const around = chosen >= view.from && chosen <= view.to ? chosen : undefined;
    const acts: Record<string, () => void> = {
      n: () => this.step(1),
      p: () => this.step(-1),
      ArrowLeft: () => view.pan(-step),
      ArrowRight: () => view.pan(step),
      "+": () => view.zoom(0.5, around),
      "-": () => view.zoom(2, around),
      "0": () => view.all(),
    };
    const act = acts[event.key] ?? acts[event.key.toLowerCase()];
    if (act === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    act();
  }

  private step(by: number): void {
    const at = this.found.indexOf(this.chosen);
    const next = at < 0 ? (by > 0 ? 0 : this.found.length - 1) : at + by;
    if (next >= 0 && next < this.found.length) this.choose(this.found[next]);
  }

  private choose(row: number): void {
    this.chosen = row;
    this.told.textContent = this.words(row);
    const { sent } = this.messages;
    if (sent[row] < this.view.from || sent[row] > this.view.to) {
      const half = (this.view.to - this.view.from) / 2;
      this.view.set(sent[row] - half, sent[row] + half);
    }
    this.draw();
  }

  /** One message in a sentence. */
  private words(row: number): string {
    const { messages } = this;
    const about = messages.ranges[messages.range[row]];
    const parts = [
      `${hostName(messages.hosts[messages.source[row]])} → ${hostName(messages.hosts[messages.target[row]])}`,
      `${visible(messages.kinds[messages.kind[row]])}${about === "" ? "" : ` of range ${visible(about)}`}${messages.term[row] > 0 ? `, term ${messages.term[row]}` : ""}`,
      visible(messages.text.get(row)),
      `sent at ${seconds(messages.sent[row], 6)}, ${messages.took[row] < 0 ? "never arrived" : `arrived ${duration(messages.took[row])} later`}`,
    ];
    return parts.filter((part) => part !== "").join("; ");
  }

  private find(): void {
    const { messages, view } = this;
    const [range, host, words] = [Number(this.range.value), Number(this.host.value), this.search.value];
    const end = lowerBound(messages.sent, view.to);
    this.found = [];
    for (let row = 0; row < end; row++) {
      if (messages.sent[row] + Math.max(0, messages.took[row]) < view.from) continue;
      if (this.hidden.has(messages.kind[row])) continue;
      if (range >= 0 && messages.range[row] !== range) continue;
      if (host >= 0 && messages.source[row] !== host && messages.target[row] !== host) continue;
      if (words !== "" && !this.words(row).includes(words)) continue;
      this.found.push(row);
    }
  }

  private get gap(): number {
    return Math.max(26, Math.min(76, 420 / Math.max(1, this.messages.hosts.length - 1)));
  }

  private x(time: number): number {
    return this.view.x(time, this.place.clientWidth);
  }

  private y(host: number): number {
    return TOP + host * this.gap;
  }

  private time(x: number): number {
    return this.view.time(x, this.place.clientWidth);
  }

  /** From where to where an arrow goes; one that never arrived, half way, as far as usual. */
  private ends(row: number): [number, number, number, number] {
    const { messages } = this;
    const [top, bottom] = [this.y(messages.source[row]), this.y(messages.target[row])];
    const left = this.x(messages.sent[row]);
    if (messages.took[row] >= 0) return [left, top, this.x(messages.sent[row] + messages.took[row]), bottom];
    return [left, top, this.x(messages.sent[row] + messages.usual / 2), (top + bottom) / 2];
  }

  private paint(): void {
    const width = this.place.clientWidth;
    if (width === 0) return;
    this.find();
    const { messages, view } = this;
    const theme = readTheme();
    const bottom = TOP + BOTTOM + (messages.hosts.length - 1) * this.gap;
    const context = pen(this.canvas, width, bottom + AXIS);
    context.font = SMALL;
    context.textBaseline = "middle";
    this.paintFaults(context, bottom);
    messages.hosts.forEach((host, at) => {
      context.fillStyle = theme.text;
      context.fillText(fitted(context, hostName(host), GUTTER - 20), 14, this.y(at));
      context.fillStyle = theme.line;
      context.fillRect(GUTTER, this.y(at) - 0.5, width - GUTTER, 1);
    });
    context.save();
    context.beginPath();
    context.rect(GUTTER, 0, width - GUTTER, bottom);
    context.clip();
    const many = this.found.length > MOST_ARROWS;
    if (many) this.paintCounts(context, width);
    else this.paintArrows(context);
    context.restore();
    this.paintAxis(context, width, bottom, theme.quiet, theme.line);
    this.say(many);
    this.list.show(this.found);
    this.canvas.dataset.arrows = many ? "" : String(this.found.length);
    if (view.to <= view.from) this.tip.hidden = true;
  }

  private say(many: boolean): void {
    const { messages } = this;
    const count = this.found.length.toLocaleString("en");
    const lost = this.found.filter((row) => messages.took[row] < 0).length;
    const never = lost > 0 ? `, of which ${lost.toLocaleString("en")} never arrived (✕)` : "";
    const how = many ? ": how many left each host is drawn; zoom in (click, Ctrl + wheel) or filter to see each" : "";
    const [first, last] = [messages.sent[0], messages.sent[messages.count - 1]];
    const part = messages.count < messages.recorded ? ` of ${messages.recorded.toLocaleString("en")}; messages.jsonl.gz has ${messages.kept.toLocaleString("en")}` : "";
    this.status.textContent = `${count} messages in view${never}${how}. The page has ${messages.count.toLocaleString("en")}${part}, from ${seconds(first)} to ${seconds(last)}.`;
  }

  private paintFaults(context: CanvasRenderingContext2D, bottom: number): void {
    const { run, messages } = this;
    for (const fault of run.faults) {
      if (fault.effective === null) continue;
      const [left, right] = [Math.max(GUTTER, this.x(fault.effective)), this.x(fault.end ?? run.span)];
      context.globalAlpha = 0.1;
      context.fillStyle = faultColour(fault.fault);
      if (right > left) context.fillRect(left, 0, right - left, bottom);
    }
    messages.hosts.forEach((host, at) => {
      for (const [position] of run.node_effects[host] ?? []) {
        const fault = run.faults[position];
        const [left, right] = [Math.max(GUTTER, this.x(fault.effective ?? fault.start)), this.x(fault.end ?? run.span)];
        context.globalAlpha = 0.55;
        context.fillStyle = faultColour(fault.fault);
        if (fault.effective !== null && right > left) context.fillRect(left, this.y(at) - 4, right - left, 8);
      }
    });
    context.globalAlpha = 1;
  }

  private paintArrows(context: CanvasRenderingContext2D): void {
    const { messages } = this;
    const theme = readTheme();
    for (const row of this.found) {
      const [colour, dash] = this.looks[messages.kind[row]];
      const [left, top, right, bottom] = this.ends(row);
      const isChosen = row === this.chosen;
      context.strokeStyle = context.fillStyle = isChosen ? theme.anomaly : colour;
      context.lineWidth = isChosen ? 3 : 1.2;
      context.setLineDash(dash);
      context.beginPath();
      context.moveTo(left, top);
      context.lineTo(right, bottom);
      context.stroke();
      context.setLineDash([]);
      if (messages.took[row] < 0) cross(context, right, bottom, theme.anomaly);
      else arrowHead(context, left, top, right, bottom);
    }
    context.lineWidth = 1;
    if (this.found.length <= MOST_WORDS) this.paintWords(context, theme.text);
  }

  /** What each is, beside where it was sent, as far as there is room. */
  private paintWords(context: CanvasRenderingContext2D, colour: string): void {
    const { messages } = this;
    const taken: [number, number, number][] = [];
    context.fillStyle = colour;
    for (const row of this.found) {
      const [left, top, right, bottom] = this.ends(row);
      const about = messages.ranges[messages.range[row]];
      const text = `${visible(messages.kinds[messages.kind[row]])}${about === "" ? "" : ` r${visible(about)}`}`;
      const width = context.measureText(text).width + 6;
      const [x, y] = [left + (right - left) * 0.3 + 4, top + (bottom - top) * 0.3];
      if (x < GUTTER || taken.some(([a, b, height]) => x < b && x + width > a && Math.abs(height - y) < 12)) continue;
      taken.push([x, x + width, y]);
      context.fillText(text, x, y);
    }
  }

  private paintCounts(context: CanvasRenderingContext2D, width: number): void {
    const { messages } = this;
    const theme = readTheme();
    const columns = Math.max(1, Math.ceil((width - GUTTER) / 4));
    const counts = messages.hosts.map(() => new Uint32Array(columns));
    const lost = messages.hosts.map(() => new Uint8Array(columns));
    for (const row of this.found) {
      const column = Math.floor((this.x(messages.sent[row]) - GUTTER) / 4);
      if (column < 0 || column >= columns) continue;
      counts[messages.source[row]][column]++;
      if (messages.took[row] < 0) lost[messages.source[row]][column] = 1;
    }
    const most = Math.max(1, ...counts.map((line) => line.reduce((a, b) => Math.max(a, b), 0)));
    counts.forEach((line, host) => {
      line.forEach((count, column) => {
        const height = (count / most) * Math.min(this.gap - 12, TOP - 6);
        context.fillStyle = theme.outcomes[0];
        if (count > 0) context.fillRect(GUTTER + column * 4, this.y(host) - Math.max(1, height), 3, Math.max(1, height));
        if (lost[host][column] === 1) cross(context, GUTTER + column * 4 + 2, this.y(host) + 6, theme.anomaly);
      });
    });
  }

  private paintAxis(context: CanvasRenderingContext2D, width: number, top: number, quiet: string, line: string): void {
    const step = niceStep(((this.view.to - this.view.from) / (width - GUTTER)) * 110);
    context.fillStyle = line;
    context.fillRect(GUTTER, top, width - GUTTER, 1);
    context.fillStyle = quiet;
    for (let tick = Math.ceil(this.view.from / step) * step; tick <= this.view.to; tick += step) {
      context.fillRect(this.x(tick), top, 1, 4);
      context.fillText(`${+(tick / 1e6).toFixed(6)} s`, this.x(tick) + 3, top + 11);
    }
  }

  private nearest(x: number, y: number): number {
    if (this.found.length > MOST_ARROWS) return -1;
    let [best, least] = [-1, NEAR];
    for (const row of this.found) {
      const [x1, y1, x2, y2] = this.ends(row);
      const [dx, dy] = [x2 - x1, y2 - y1];
      const along = Math.max(0, Math.min(1, ((x - x1) * dx + (y - y1) * dy) / Math.max(1e-9, dx * dx + dy * dy)));
      const away = Math.hypot(x - x1 - along * dx, y - y1 - along * dy);
      if (away < least) [best, least] = [row, away];
    }
    return best;
  }

  private point(x: number, y: number): void {
    const row = this.nearest(x, y);
    this.tip.hidden = row < 0;
    if (row < 0) return;
    this.tip.textContent = this.words(row).replaceAll("; ", "\n");
    const most = Math.max(0, this.place.clientWidth - 330);
    this.tip.style.left = `${Math.min(x + 14, most)}px`;
    this.tip.style.top = `${y + 14}px`;
  }
}

/** The messages in view as a table, page by page. */
class List {
  readonly place = document.createElement("details");
  private found: number[] = [];
  private readonly pages = new PagedTable(
    ["sent", "took", "from", "to", "kind", "range", "term", "what"],
    (row, line) => this.fill(row, line),
  );

  constructor(
    private readonly messages: Messages,
    private readonly choose: (row: number) => void,
  ) {
    const summary = document.createElement("summary");
    summary.textContent = "Messages in view, as a table";
    const controls = document.createElement("p");
    controls.append(...this.pages.controls);
    this.place.append(summary, controls, this.pages.wide);
    this.place.addEventListener("toggle", () => this.show(this.found));
  }

  show(found: number[]): void {
    this.found = found;
    if (this.place.open) this.pages.show(found);
  }

  private fill(row: number, line: HTMLTableRowElement): void {
    const { messages } = this;
    const cells = [
      button(seconds(messages.sent[row], 6), () => this.choose(row)),
      messages.took[row] < 0 ? "never arrived" : duration(messages.took[row]),
      hostName(messages.hosts[messages.source[row]]),
      hostName(messages.hosts[messages.target[row]]),
      visible(messages.kinds[messages.kind[row]]),
      visible(messages.ranges[messages.range[row]]),
      messages.term[row] > 0 ? String(messages.term[row]) : "",
      visible(messages.text.get(row)),
    ];
    for (const cell of cells) line.insertCell().append(cell);
  }
}

function hostName(name: string): string {
  return name === "client" ? "clients" : visible(name);
}

function countsOf(messages: Messages): Uint32Array {
  const counts = new Uint32Array(messages.kinds.length);
  for (let row = 0; row < messages.count; row++) counts[messages.kind[row]]++;
  return counts;
}

function looksOf(messages: Messages): Look[] {
  const counts = countsOf(messages);
  const order = messages.kinds.map((_, kind) => kind).sort((a, b) => counts[b] - counts[a]);
  return messages.kinds.map((_, kind) => LOOKS[order.indexOf(kind)] ?? OTHER);
}

function arrowHead(context: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number): void {
  const angle = Math.atan2(y2 - y1, x2 - x1);
  context.beginPath();
  context.moveTo(x2, y2);
  for (const turn of [-0.35, 0.35]) context.lineTo(x2 - 8 * Math.cos(angle + turn), y2 - 8 * Math.sin(angle + turn));
  context.fill();
}

function cross(context: CanvasRenderingContext2D, x: number, y: number, colour: string): void {
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.beginPath();
  for (const side of [-1, 1]) {
    context.moveTo(x - 3, y - 3 * side);
    context.lineTo(x + 3, y + 3 * side);
  }
  context.stroke();
  context.lineWidth = 1;
}
