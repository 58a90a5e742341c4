// The operations in view as a table, page by page: for keyboards, for screen readers, for searching.
import { button, PagedTable } from "./paged";
import { duration, lowerBound, OUTCOMES, Run, seconds, summary, visible } from "./run";
import { View } from "./view";

/** How long a search keeps the page waiting at a time, in milliseconds. */
const SLICE_MS = 30;

export class OperationTable {
  private readonly search = document.createElement("input");
  private readonly outcome = document.createElement("select");
  private readonly pages = new PagedTable(
    ["event", "start", "latency", "process", "operation", "outcome", "error"],
    (row, line) => this.fill(row, line),
  );
  private timer = 0;
  /** Numbers the searches: an earlier one ends when the next one begins. */
  private searches = 0;

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
    controls.append(this.search, " ", this.outcome, " ", ...this.pages.controls);
    place.append(controls, this.pages.wide);
    const later = (): void => {
      clearTimeout(this.timer);
      this.timer = window.setTimeout(() => void this.find(), 150);
    };
    this.search.addEventListener("input", later);
    this.outcome.addEventListener("change", later);
    container.addEventListener("toggle", later);
    view.listen(later);
  }

  /** Looks through the operations in view, in slices, so that the page answers meanwhile. */
  private async find(): Promise<void> {
    const search = ++this.searches;
    if (!this.container.open) return;
    const { operations, anomalyOf } = this.run;
    const low = lowerBound(operations.start, this.view.from);
    const high = lowerBound(operations.start, this.view.to);
    const [text, kind] = [this.search.value, this.outcome.value];
    const found: number[] = [];
    let pause = performance.now() + SLICE_MS;
    for (let row = low; row < high; row++) {
      if (row % 256 === 0 && performance.now() > pause) {
        this.pages.status.textContent = `searching, ${Math.floor((100 * (row - low)) / (high - low))} % …`;
        await new Promise((later) => setTimeout(later));
        if (search !== this.searches) return;
        pause = performance.now() + SLICE_MS;
      }
      if (kind === "a" ? !anomalyOf.has(row) : kind !== "" && Math.min(2, operations.outcome[row]) !== Number(kind)) continue;
      if (text !== "") {
        for (const texts of [operations.value, operations.error]) {
          const unpacking = texts.prepare(row);
          if (unpacking !== null) await unpacking;
        }
        if (search !== this.searches) return;
        if (!summary(this.run, row).includes(text) && !operations.error.get(row).includes(text)) continue;
      }
      found.push(row);
    }
    this.pages.show(found);
  }

  private fill(row: number, line: HTMLTableRowElement): void {
    const { operations } = this.run;
    if (this.run.anomalyOf.has(row)) line.className = "anomalous";
    const cells = [
      button(String(operations.index[row]), () => this.choose(row)),
      seconds(operations.start[row]),
      duration(operations.duration[row]),
      String(this.run.processes[operations.process[row]]),
      summary(this.run, row),
      OUTCOMES[operations.outcome[row]],
      visible(operations.error.get(row)),
    ];
    for (const cell of cells) line.insertCell().append(cell);
  }
}
