// A canvas as wide as its place and as sharp as the screen.

/** Sizes the canvas in CSS pixels and returns its pen, scaled so that one unit is one CSS pixel. */
export function pen(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const ratio = devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser draws no canvas");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** Runs `draw` once before the next frame, however often it is asked for. */
export function onceAFrame(draw: () => void): () => void {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}

/** Runs `draw` once nobody has asked for it for a moment. */
export function afterAPause(draw: () => void): () => void {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(draw, 80);
  };
}

/** Left of the drawings: room for names and numbers, the same in all of them, so that equal times stand in line. */
export const GUTTER = 118;

/** Steps of 1, 2 or 5 times a power of ten: the smallest that is at least `least`. */
export function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  for (const step of [1, 2, 5, 10]) if (step * power >= least * 0.999999) return step * power;
  return 10 * power;
}

const FONT = "system-ui, sans-serif";
export const SMALL = `11px ${FONT}`;
export const BOLD = `600 11px ${FONT}`;

/** The first of the texts that fits whole; none is cut, since the beginning of a word names nothing. */
export function firstThatFits(context: CanvasRenderingContext2D, texts: string[], width: number): string {
  return texts.find((text) => context.measureText(text).width <= width) ?? "";
}

/** The text, cut with an ellipsis to fit. */
export function fitted(context: CanvasRenderingContext2D, text: string, width: number): string {
  if (width < 14) return "";
  if (text.length * 5 <= width && context.measureText(text).width <= width) return text;
  let low = 0;
  let high = Math.min(text.length, Math.ceil(width / 2));
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low === text.length ? text : low < 2 ? "" : `${text.slice(0, low)}…`;
}
