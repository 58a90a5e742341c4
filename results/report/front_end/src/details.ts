// All about one operation, one fault or one mark, and where to find it in the run folder.
import { askedAndAnswered, duration, OPEN, OUTCOMES, Run, seconds, visible } from "./run";
import { Choice } from "./timeline";
import { View } from "./view";

type Line = [string, string | Node];

export class Details {
  constructor(
    private readonly place: HTMLElement,
    private readonly run: Run,
    private readonly view: View,
  ) {}

  show(choice: Choice): void {
    if ("operation" in choice) this.showOperation(choice.operation);
    else if ("fault" in choice) this.showFault(choice.fault);
    else {
      const mark = this.run.marks[choice.mark];
      this.fill(`${visible(mark.kind)} on ${visible(mark.node)}`, [
        ["at", seconds(mark.time)],
        ["text", code(mark.text)],
      ]);
    }
  }

  private showOperation(row: number): void {
    const { run } = this;
    const { operations } = run;
    const [asked, answered] = askedAndAnswered(operations, row);
    const [start, length, kind] = [operations.start[row], operations.duration[row], operations.outcome[row]];
    const process = operations.process[row];
    const node = run.lanes.find((lane) => lane.processes.includes(process))?.node ?? "";
    const lines: Line[] = [["asked", code(asked)]];
    if (answered !== null) lines.push(["answered", code(answered)]);
    const error = operations.error.get(row);
    const why = error === "" ? "" : `: ${visible(error)}`;
    const meaning = kind >= 2 ? "it may have happened, then or later" : kind === 1 ? "it certainly did not happen" : "it happened";
    lines.push(["outcome", `${OUTCOMES[kind]}${why} (${meaning})`]);
    lines.push(["process", `${run.processes[process]}${node === "" ? "" : `, talking to ${visible(node)}`}`]);
    lines.push(["started", seconds(start, 6)]);
    if (kind !== OPEN) lines.push(["completed", `${seconds(start + length, 6)}, after ${duration(length)}`]);
    if (operations.lag !== null && operations.lag[row] >= 0) {
      lines.push(["intended start", `${duration(operations.lag[row])} before it did start`]);
    }
    const during = run.faults.filter((fault) => fault.effective !== null && fault.effective <= start + length && (fault.end ?? run.span) >= start);
    if (during.length > 0) lines.push(["during", visible(during.map((fault) => fault.label).join("; "))]);
    const anomaly = run.anomalyOf.get(row);
    if (anomaly !== undefined) lines.push(["evidence of", visible(`${run.anomalies[anomaly].type}: ${run.anomalies[anomaly].sentence}`)]);
    lines.push(["recorded", `event ${operations.index[row]}, line ${operations.index[row] + 1} of history.jsonl`]);
    this.fill(visible(run.functions[operations.f[row]]), lines, [start, start + Math.max(length, 1000)]);
  }

  private showFault(position: number): void {
    const fault = this.run.faults[position];
    const end = fault.end ?? this.run.span;
    const lines: Line[] = [
      ["targets", visible(fault.targets.join(", ")) || "none"],
      ["started", seconds(fault.start, 6)],
      ["took effect", fault.effective === null ? "never" : `${seconds(fault.effective, 6)}, after ${duration(fault.effective - fault.start)}`],
      ["healed", fault.end === null ? "not before the record ends" : seconds(fault.end, 6)],
    ];
    if (fault.plan !== "") lines.splice(1, 0, ["plan", visible(fault.plan)]);
    if (fault.skipped !== null) lines.push(["skipped", visible(fault.skipped)]);
    lines.push(["evidence", code(fault.evidence || "none recorded")]);
    this.fill(`${visible(fault.label)} (step ${fault.step})`, lines, [fault.start, end]);
  }

  private fill(title: string, lines: Line[], span?: [number, number]): void {
    const heading = document.createElement("h3");
    heading.textContent = title;
    if (span !== undefined) {
      const button = document.createElement("button");
      button.textContent = "Zoom to it";
      button.addEventListener("click", () => {
        const margin = (span[1] - span[0]) * 0.4;
        this.view.set(span[0] - margin, span[1] + margin);
      });
      heading.append(" ", button);
    }
    const list = document.createElement("dl");
    for (const [name, value] of lines) {
      const [term, description] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      description.append(value);
      list.append(term, description);
    }
    this.place.replaceChildren(heading, list);
  }
}

function code(text: string): HTMLElement {
  const element = document.createElement("code");
  element.textContent = visible(text);
  return element;
}
