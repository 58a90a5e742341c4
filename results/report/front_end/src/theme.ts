// Colours, read from the style sheet so that dark and light and the drawings agree. The outcome and fault colours
// come from the palettes of Okabe-Ito and Tol, which colour-blind people can tell apart; shapes and words repeat
// what a colour says.

export interface Theme {
  text: string;
  quiet: string;
  line: string;
  surface: string;
  raised: string;
  anomaly: string;
  outcomes: string[];
  /** Of the lines for median, p95, p99 and maximum. */
  quantiles: string[];
}

const FAULTS = ["partition", "kill", "pause", "restart", "clock"];

export function readTheme(): Theme {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  return {
    text: colour("--text"),
    quiet: colour("--quiet"),
    line: colour("--line"),
    surface: colour("--surface"),
    raised: colour("--raised"),
    anomaly: colour("--anomaly"),
    outcomes: [colour("--ok"), colour("--fail"), colour("--info"), colour("--info")],
    quantiles: [colour("--text"), colour("--p95"), colour("--p99"), colour("--max")],
  };
}

/** Colour of a fault by its class, `partition` for `partition one-way`. */
export function faultColour(fault: string): string {
  const name = FAULTS.includes(fault) ? fault : "other";
  return getComputedStyle(document.documentElement).getPropertyValue(`--fault-${name}`).trim();
}

/** Wires the button; calls `changed` when colours differ, also when the system's preference does. */
export function watchTheme(button: HTMLElement, changed: () => void): void {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  dark.addEventListener("change", changed);
  button.addEventListener("click", () => {
    const isDark = root.dataset.theme === undefined ? dark.matches : root.dataset.theme === "dark";
    root.dataset.theme = isDark ? "light" : "dark";
    changed();
  });
  // Ink on paper, whatever the screen shows.
  let before: string | undefined;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    changed();
  });
  addEventListener("afterprint", () => {
    if (before === undefined) delete root.dataset.theme;
    else root.dataset.theme = before;
    changed();
  });
}
