// The whole run in one strip: throughput, faults and anomalies, and a window that shows and moves the view.
import { onceAFrame, pen } from "./canvas";
import { OK, Run } from "./run";
import { faultColour, readTheme } from "./theme";
import { View } from "./view";

const HEIGHT = 44;
const BUCKETS = 400;

export class Overview {
  readonly draw: () => void;
  private readonly counts: { ok: Uint32Array; rest: Uint32Array; most: number };

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly run: Run,
    private readonly view: View,
  ) {
    this.counts = this.count();
    this.draw = onceAFrame(() => this.paint());
    view.listen(this.draw);
    this.wire();
  }

  private count(): { ok: Uint32Array; rest: Uint32Array; most: number } {
    const { operations, span } = this.run;
    const ok = new Uint32Array(BUCKETS);
    const rest = new Uint32Array(BUCKETS);
    for (let row = 0; row < operations.count; row++) {
      const end = operations.start[row] + operations.duration[row];
      const bucket = Math.min(BUCKETS - 1, Math.floor((end / span) * BUCKETS));
      (operations.outcome[row] === OK ? ok : rest)[bucket]++;
    }
    let most = 1;
    for (let i = 0; i < BUCKETS; i++) most = Math.max(most, ok[i] + rest[i]);
    return { ok, rest, most };
  }

  private wire(): void {
    const { canvas, view } = this;
    const at = (event: PointerEvent): number => (event.offsetX / canvas.clientWidth) * view.span;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      const width = view.to - view.from;
      const time = at(event);
      const grabbed = time >= view.from && time <= view.to ? time - view.from : width / 2;
      const move = (next: PointerEvent): void => view.set(at(next) - grabbed, at(next) - grabbed + width);
      move(event);
      canvas.addEventListener("pointermove", move);
      canvas.addEventListener("pointerup", () => canvas.removeEventListener("pointermove", move), { once: true });
    });
  }

  private paint(): void {
    const width = this.canvas.parentElement?.clientWidth ?? 600;
    const context = pen(this.canvas, width, HEIGHT);
    const theme = readTheme();
    const { run, view, counts } = this;
    const x = (time: number): number => (time / run.span) * width;
    const base = HEIGHT - 8;
    for (let i = 0; i < BUCKETS; i++) {
      const left = (i / BUCKETS) * width;
      const size = width / BUCKETS + 0.5;
      const ok = (counts.ok[i] / counts.most) * (base - 2);
      const rest = (counts.rest[i] / counts.most) * (base - 2);
      context.fillStyle = theme.outcomes[OK];
      context.fillRect(left, base - ok, size, ok);
      context.fillStyle = theme.outcomes[1];
      context.fillRect(left, base - ok - rest, size, rest);
    }
    for (const fault of run.faults) {
      if (fault.skipped !== null) continue;
      context.fillStyle = faultColour(fault.fault);
      const [left, right] = [x(fault.effective ?? fault.start), x(fault.end ?? run.span)];
      context.fillRect(left, base + 2, Math.max(2, right - left), 6);
    }
    context.fillStyle = theme.anomaly;
    for (const row of run.anomalyOf.keys()) {
      const left = x(run.operations.start[row]);
      context.beginPath();
      context.moveTo(left - 4, 0);
      context.lineTo(left + 4, 0);
      context.lineTo(left, 8);
      context.fill();
      context.fillRect(left - 0.5, 0, 1, base);
    }
    const [left, right] = [Math.max(0, x(view.from)), Math.min(width, x(view.to))];
    context.fillStyle = theme.surface;
    context.globalAlpha = 0.65;
    context.fillRect(0, 0, left, HEIGHT);
    context.fillRect(right, 0, width - right, HEIGHT);
    context.globalAlpha = 1;
    context.strokeStyle = theme.text;
    context.strokeRect(left + 0.5, 0.5, Math.max(2, right - left - 1), HEIGHT - 1);
  }
}
