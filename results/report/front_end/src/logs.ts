// Searching in the logs of all nodes at once: only lines with all the words stay, and logs without any are closed.

interface Log {
  block: HTMLDetailsElement;
  text: HTMLElement;
  lines: string[];
}

export function wireLogs(search: HTMLInputElement | null, found: HTMLElement | null): void {
  if (search === null || found === null) return;
  let logs: Log[] | null = null;
  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      logs ??= readLogs();
      filter(logs, search.value.toLowerCase().split(/\s+/).filter(Boolean), found);
    }, 150);
  });
}

function readLogs(): Log[] {
  const texts = [...document.querySelectorAll<HTMLElement>("#logs pre.log")];
  return texts.map((text) => ({
    text,
    block: text.closest("details") as HTMLDetailsElement,
    lines: (text.textContent ?? "").split("\n"),
  }));
}

function filter(logs: Log[], words: string[], found: HTMLElement): void {
  let [count, nodes] = [0, 0];
  for (const { block, text, lines } of logs) {
    const kept = words.length === 0 ? lines : lines.filter((line) => has(line.toLowerCase(), words));
    text.textContent = kept.join("\n");
    if (words.length === 0) continue;
    block.open = kept.length > 0;
    count += kept.length;
    if (kept.length > 0) nodes++;
  }
  found.textContent = words.length === 0 ? "" : `${count.toLocaleString("en")} lines in ${nodes} of ${logs.length} logs`;
}

function has(line: string, words: string[]): boolean {
  return words.every((word) => line.includes(word));
}
