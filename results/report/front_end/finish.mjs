// After the build: allow exactly this script by its hash, check the places that Python fills, and put the result
// where Python finds it (or beside the build, if REPORT_OUT_DIR says that this is a trial).
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const folder = process.env.REPORT_OUT_DIR ?? "dist";
let page = readFileSync(`${folder}/index.html`, "utf8");

const script = /<script type="module"[^>]*>([\s\S]*?)<\/script>/.exec(page);
if (script === null) throw new Error("the built page has no inline module script");
// A module script that stands in the page needs no cross-origin mode, and the hash is over its exact text.
page = page.replace(script[0], () => `<script type="module">${script[1]}</script>`);
const hash = createHash("sha256").update(script[1], "utf8").digest("base64");
if (!page.includes("'sha256-report-script-hash'")) throw new Error("the page has no place for the script's hash");
page = page.replace("'sha256-report-script-hash'", `'sha256-${hash}'`);

// uPlot's licence asks that its notice goes with every copy.
const licence = readFileSync("node_modules/uplot/LICENSE", "utf8").trim();
if (licence.includes("--")) throw new Error("uPlot's licence cannot stand in an HTML comment");
page = page.replace("</head>", () => `<!-- The script of this page contains uPlot.\n\n${licence}\n-->\n</head>`);

for (const place of ["report:title", "report:verdict", "report:tables", "report:data"]) {
  const count = page.split(`<!--${place}-->`).length - 1;
  if (count !== 1) throw new Error(`the page has ${count} places <!--${place}-->, and must have exactly one`);
}
for (const forbidden of [/<link[^>]+stylesheet/, /<script[^>]+src=/]) {
  if (forbidden.test(page)) throw new Error(`the page asks for another file: ${forbidden}`);
}
writeFileSync(process.env.REPORT_OUT_DIR ? `${folder}/template.html` : "../template.html", page);
