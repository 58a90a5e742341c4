// Brings the page to life: unpacks the run, and lets plots, time line, table and buttons share one time axis.
import "./style.css";
import { Clocks } from "./clocks";
import { Details } from "./details";
import { Overview } from "./overview";
import { Plots } from "./plots";
import { faultCode, loadRun, Run, seconds, visible } from "./run";
import { Leaders } from "./leaders";
import { wireLogs } from "./logs";
import { MessageDiagram } from "./messages";
import { OperationTable } from "./table";
import { faultColour, readTheme, watchTheme } from "./theme";
import { Choice, Timeline } from "./timeline";
import { View } from "./view";

function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found as T;
}

async function start(): Promise<void> {
  // Shown before anything is measured: a hidden place has no width.
  document.documentElement.classList.add("scripted");
  const run = await loadRun();
  const view = new View(run.span);
  const details = new Details(element("details"), run, view);
  const choose = (choice: Choice): void => {
    details.show(choice);
    timeline.mark(choice);
  };
  const timeline = new Timeline(element("timeline"), run, view, choose);
  const plots = new Plots(element("latency"), element("throughput"), run, view, {
    operation: (row) => choose({ operation: row }),
  });
  const overview = new Overview(element<HTMLCanvasElement>("overview"), run, view);
  new OperationTable(element("operation-table"), element<HTMLDetailsElement>("operations"), run, view, (row) => {
    showRows(run, view, [row]);
    choose({ operation: row });
    element("timeline").scrollIntoView({ block: "center" });
  });

  wireButtons(view, plots, run);
  let linked: (() => void) | null = null;
  for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-anomaly]")) {
    const anomaly = run.anomalies[Number(button.dataset.anomaly)];
    if (anomaly === undefined || anomaly.rows.length === 0) {
      button.hidden = true;
      continue;
    }
    const show = (): void => {
      showRows(run, view, anomaly.rows);
      choose({ operation: anomaly.rows[anomaly.rows.length - 1] });
      element("timeline").scrollIntoView({ block: "center" });
      element("timeline").focus({ preventScroll: true });
    };
    button.addEventListener("click", () => {
      show();
      history.replaceState(null, "", `#anomaly-${button.dataset.anomaly}`);
    });
    // A link to the page may end in #anomaly-0.
    if (location.hash.slice(1).split(",").includes(`anomaly-${button.dataset.anomaly}`)) linked = show;
  }

  for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-copy]")) {
    button.addEventListener("click", () => void copy(button));
  }

  const leaders = run.ranges.length > 0 ? new Leaders(element("leaders"), element("leader-legend"), run, view) : null;
  element("leaders-figure").hidden = leaders === null;
  // Unhidden first: a hidden place has no width.
  element("clocks-figure").hidden = run.clocks.length === 0;
  const clocks = run.clocks.length > 0 ? new Clocks(element("clocks"), element("clock-legend"), run, view) : null;
  element("messages-figure").hidden = run.messages === null;
  const messages = run.messages === null ? null : new MessageDiagram(element("messages"), run, view);
  wireLogs(document.querySelector("#log-search"), document.querySelector("#log-found"));
  element("lateness").textContent = run.lateness;
  element("lateness").hidden = run.lateness === "";
  element("rows-of-lanes").hidden = !run.lanes.some((lane) => lane.processes.length > 1);
  const recolour = (): void => {
    legends(run);
    listSteps(run, choose);
    plots.recolour();
    timeline.recolour();
    leaders?.draw();
    clocks?.draw();
    messages?.draw();
    overview.draw();
  };
  watchTheme(element("theme"), recolour);
  new ResizeObserver(overview.draw).observe(element("explore"));
  const tell = (): void => {
    element("window").textContent = `${seconds(Math.max(0, view.from))} to ${seconds(Math.min(view.span, view.to))}`;
  };
  view.listen(tell);
  tell();
  recolour();
  (linked as (() => void) | null)?.();
  requestAnimationFrame(() => {
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  });
}

/** Zooms so that these operations fill most of the width. */
function showRows(run: Run, view: View, rows: number[]): void {
  const { start, duration } = run.operations;
  const from = rows.reduce((least, row) => Math.min(least, start[row]), Infinity);
  const to = rows.reduce((most, row) => Math.max(most, start[row] + duration[row]), -Infinity);
  const margin = Math.max((to - from) * 0.3, 500);
  view.set(from - margin, to + margin);
}

function wireButtons(view: View, plots: Plots, run: Run): void {
  element("zoom-in").addEventListener("click", () => view.zoom(0.5));
  element("zoom-out").addEventListener("click", () => view.zoom(2));
  element("zoom-back").addEventListener("click", () => view.back());
  element("zoom-all").addEventListener("click", () => view.all());
  const intended = element<HTMLInputElement>("from-intended");
  if (run.operations.lag === null) intended.closest("label")!.hidden = true;
  intended.addEventListener("change", () => plots.measureFromIntended(intended.checked));
}

async function copy(button: HTMLButtonElement): Promise<void> {
  const text = document.getElementById(button.dataset.copy ?? "")?.textContent ?? "";
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // A page from a file may not reach the clipboard: select the text instead, ready for Ctrl-C.
    const target = document.getElementById(button.dataset.copy ?? "");
    if (target !== null) getSelection()?.selectAllChildren(target);
    button.textContent = "Selected";
  }
}

function legends(run: Run): void {
  const theme = readTheme();
  const entry = (colour: string, sign: string, text: string): HTMLElement => {
    const [item, mark] = [document.createElement("span"), document.createElement("i")];
    mark.textContent = sign;
    mark.style.color = colour;
    item.append(mark, ` ${text}`);
    return item;
  };
  const outcomes = [
    entry(theme.outcomes[0], "■", "ok"),
    entry(theme.outcomes[1], "▲", "fail"),
    entry(theme.outcomes[2], "◆", "info"),
  ];
  if (run.anomalies.length > 0) outcomes.push(entry(theme.anomaly, "◯", "anomaly"));
  element("outcome-legend").replaceChildren(...outcomes);
  const names = [...new Set(run.faults.map((fault) => fault.fault))].sort();
  element("fault-legend").replaceChildren(...names.map((name) => entry(faultColour(name), "▬", visible(name))));
}

/** Every step with the short name that the drawing uses where there is no room for the whole one. */
function listSteps(run: Run, choose: (choice: Choice) => void): void {
  const steps = run.faults.map((fault, position) => {
    const [button, mark] = [document.createElement("button"), document.createElement("i")];
    mark.textContent = "▬";
    mark.style.color = faultColour(fault.fault);
    button.type = "button";
    const state = fault.skipped !== null ? ", skipped" : fault.took_effect ? "" : ", no effect";
    button.append(mark, ` ${faultCode(fault)} ${visible(fault.label)}${state}, ${seconds(fault.start, 1)}`);
    button.title = `Step ${fault.step}: all about it`;
    button.addEventListener("click", () => choose({ fault: position }));
    return button;
  });
  element("fault-steps").replaceChildren(...steps);
}

start().catch((error: unknown) => {
  const note = document.createElement("p");
  note.className = "card";
  note.textContent = `The time line could not be drawn: ${String(error)}. The verdict and the tables are whole.`;
  document.getElementById("explore")?.replaceChildren(note);
  console.error(error);
});
