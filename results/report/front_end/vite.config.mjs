// One HTML file with everything inside; the same sources give the same bytes.
import { defineConfig } from "vite";
import { viteSingleFile } from "vite-plugin-singlefile";

export default defineConfig({
  plugins: [viteSingleFile({ removeViteModuleLoader: true })],
  build: { target: "es2022", outDir: process.env.REPORT_OUT_DIR ?? "dist", emptyOutDir: true, modulePreload: false },
  logLevel: "warn",
});
