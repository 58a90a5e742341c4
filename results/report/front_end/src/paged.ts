// A table of very many rows, a page at a time.

const PAGE = 50;

export class PagedTable {
  /** Buttons to turn pages, and where one is. */
  readonly controls: (Node | string)[];
  /** The table itself, in a place that scrolls sideways. */
  readonly wide = document.createElement("div");
  readonly status = document.createElement("span");
  private readonly body = document.createElement("tbody");
  private rows: number[] = [];
  private first = 0;

  /** `fill` puts a row's cells into a line of the table. */
  constructor(
    columns: string[],
    private readonly fill: (row: number, line: HTMLTableRowElement) => void,
  ) {
    this.controls = [button("Previous", () => this.turn(-PAGE)), " ", button("Next", () => this.turn(PAGE)), " ", this.status];
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const name of columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = name;
      head.append(cell);
    }
    table.append(this.body);
    this.wide.className = "wide";
    this.wide.append(table);
  }

  show(rows: number[]): void {
    this.rows = rows;
    this.first = 0;
    this.turn(0);
  }

  private turn(by: number): void {
    const { rows } = this;
    if (this.first + by >= 0 && this.first + by < Math.max(1, rows.length)) this.first += by;
    const last = Math.min(rows.length, this.first + PAGE);
    this.status.textContent = rows.length === 0 ? "none" : `${this.first + 1} to ${last} of ${rows.length.toLocaleString("en")}`;
    this.body.replaceChildren(
      ...rows.slice(this.first, last).map((row) => {
        const line = document.createElement("tr");
        this.fill(row, line);
        return line;
      }),
    );
  }
}

export function button(text: string, act: () => void): HTMLButtonElement {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.addEventListener("click", act);
  return element;
}
