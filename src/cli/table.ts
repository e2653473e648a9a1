/** Tables of text, for terminals and for logs. */

/** A column: its heading, and whether its cells stand at the right edge as figures do. */
export interface Column {
  readonly heading: string;
  readonly right?: boolean;
}

/** The lines of a table; each column is as wide as its widest cell. */
export function renderTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map((column, i) =>
    Math.max(column.heading.length, ...rows.map((row) => (row[i] ?? '').length)),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map((column, i) => (column.right ? (cells[i] ?? '').padStart(widths[i]!) : (cells[i] ?? '').padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [line(columns.map((column) => column.heading)), ...rows.map(line)];
}

/** A block of lines on a terminal that is drawn again and again in the same place. */
export class LiveBlock {
  readonly #out: NodeJS.WriteStream;
  #height = 0;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  /** Draws the lines over the ones of last time; what does not fit into the terminal is cut. */
  draw(lines: readonly string[]): void {
    const columns = this.#out.columns ?? 80;
    const rows = this.#out.rows ?? 25;
    const shown = lines.slice(0, Math.max(1, rows - 1)).map((line) => line.slice(0, columns - 1));
    const up = this.#height > 0 ? `\x1b[${this.#height}A` : '';
    this.#out.write(`${up}\r\x1b[J${shown.map((line) => `${line}\n`).join('')}`);
    this.#height = shown.length;
  }

  /** Leaves the block where it is; the next one is drawn below. */
  release(): void {
    this.#height = 0;
  }
}
