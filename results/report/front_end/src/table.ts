// The operations in view as a table, page by page: for keyboards, for screen readers, for searching.
import { duration, lowerBound, OUTCOMES, Run, seconds, summary, visible } from "./run";
import { View } from "./view";

const PAGE = 50;

export class OperationTable {
  private first = 0;
  private found: number[] = [];
  private readonly search = document.createElement("input");
  private readonly outcome = document.createElement("select");
  private readonly status = document.createElement("span");
  private readonly body = document.createElement("tbody");
  private timer = 0;

  constructor(
    place: HTMLElement,
    private readonly container: HTMLDetailsElement,
    private readonly run: Run,
    private readonly view: View,
    private readonly choose: (row: number) => void,
  ) {
    this.search.type = "search";
    this.search.placeholder = "Search in values and errors";
    this.search.setAttribute("aria-label", "Search in values and errors");
    this.outcome.setAttribute("aria-label", "Outcome");
    for (const [value, text] of [["", "every outcome"], ["0", "ok"], ["1", "fail"], ["2", "info"], ["a", "anomalies"]]) {
      this.outcome.append(new Option(text, value));
    }
    const controls = document.createElement("p");
    controls.append(this.search, " ", this.outcome, " ", button("Previous", () => this.turn(-PAGE)), " ", button("Next", () => this.turn(PAGE)), " ", this.status);
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const name of ["event", "start", "latency", "process", "operation", "outcome", "error"]) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = name;
      head.append(cell);
    }
    table.append(this.body);
    const scroll = document.createElement("div");
    scroll.className = "wide";
    scroll.append(table);
    place.append(controls, scroll);
    const later = (): void => {
      clearTimeout(this.timer);
      this.timer = window.setTimeout(() => this.find(), 150);
    };
    this.search.addEventListener("input", later);
    this.outcome.addEventListener("change", later);
    container.addEventListener("toggle", later);
    view.listen(later);
  }

  private find(): void {
    if (!this.container.open) return;
    const { operations, anomalyOf } = this.run;
    const low = lowerBound(operations.start, this.view.from);
    const high = lowerBound(operations.start, this.view.to);
    const [text, kind] = [this.search.value, this.outcome.value];
    this.found = [];
    for (let row = low; row < high; row++) {
      if (kind === "a" ? !anomalyOf.has(row) : kind !== "" && Math.min(2, operations.outcome[row]) !== Number(kind)) continue;
      if (text !== "" && !summary(this.run, row).includes(text) && !operations.error.get(row).includes(text)) continue;
      this.found.push(row);
    }
    this.first = 0;
    this.turn(0);
  }

  private turn(by: number): void {
    const { operations } = this.run;
    const { found } = this;
    if (this.first + by >= 0 && this.first + by < Math.max(1, found.length)) this.first += by;
    const last = Math.min(found.length, this.first + PAGE);
    this.status.textContent = found.length === 0 ? "none" : `${this.first + 1} to ${last} of ${found.length.toLocaleString("en")}`;
    this.body.replaceChildren(
      ...found.slice(this.first, last).map((row) => {
        const line = document.createElement("tr");
        if (this.run.anomalyOf.has(row)) line.className = "anomalous";
        const event = button(String(operations.index[row]), () => this.choose(row));
        const cells = [
          event,
          seconds(operations.start[row]),
          duration(operations.duration[row]),
          String(this.run.processes[operations.process[row]]),
          summary(this.run, row),
          OUTCOMES[operations.outcome[row]],
          visible(operations.error.get(row)),
        ];
        for (const cell of cells) line.insertCell().append(cell);
        return line;
      }),
    );
  }
}

function button(text: string, act: () => void): HTMLButtonElement {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.addEventListener("click", act);
  return element;
}
