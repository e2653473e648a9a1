/** Reads the lines that the guest side of the demonstration prints (guest-script.ts) out of a console's bytes. */

/** Where a guest says it is in its work. */
export interface GuestPhase {
  readonly name: string;
  readonly round: number;
}

/** One guest's reported results. Feed it the console's bytes as they come. */
export class GuestReport {
  /** By `ROUND NAME`, as in `expectedResults`. */
  readonly results = new Map<string, string>();
  /** The guest's own view of its memory, KiB, by the names of /proc/meminfo; the newest. */
  readonly memory = new Map<string, number>();
  phase: GuestPhase = { name: 'booting', round: 0 };
  done = false;
  #line = '';
  readonly #decoder = new TextDecoder();

  feed(bytes: Uint8Array): void {
    const parts = (this.#line + this.#decoder.decode(bytes, { stream: true })).split('\n');
    this.#line = parts.pop()!.slice(-4096);
    for (const line of parts) this.#read(line);
  }

  #read(line: string): void {
    // A kernel message may stand before a line of ours when the guest printed it without an end.
    const words = /@ballonet (.*)/.exec(line)?.[1]?.trim().split(' ');
    if (words === undefined) return;
    const [what, ...rest] = words;
    if (what === 'result' && rest.length === 3) this.results.set(`${rest[0]} ${rest[1]}`, rest[2]!);
    else if (what === 'phase' && rest.length === 2) this.phase = { name: rest[0]!, round: Number(rest[1]) };
    else if (what === 'done') this.done = true;
    else if (what === 'memory') {
      for (const pair of rest) {
        const [key, value] = pair.split('=');
        if (key && value) this.memory.set(key, Number(value));
      }
    }
  }
}
