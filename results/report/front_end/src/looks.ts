// How lines are told apart, also by who sees no colours: a colour of Okabe and Ito and a pattern each.

export type Look = [colour: string, dash: number[]];

export const LOOKS: Look[] = [
  ["#0072b2", []],
  ["#d55e00", [7, 3]],
  ["#009e73", [2, 2]],
  ["#b0508c", [9, 3, 2, 3]],
  ["#a07800", [4, 4]],
  ["#2f95cc", [1, 3]],
];

/** A piece of such a line, for a legend. */
export function swatch(colour: string, dash: number[], width = 2): SVGElement {
  const name = "http://www.w3.org/2000/svg";
  const [image, stroke] = [document.createElementNS(name, "svg"), document.createElementNS(name, "line")];
  image.setAttribute("width", "28");
  image.setAttribute("height", "10");
  image.setAttribute("aria-hidden", "true");
  for (const [attribute, value] of Object.entries({ x1: 0, x2: 28, y1: 5, y2: 5 })) stroke.setAttribute(attribute, String(value));
  stroke.style.stroke = colour;
  stroke.style.strokeWidth = String(width);
  stroke.style.strokeDasharray = dash.join(" ");
  image.append(stroke);
  return image;
}
