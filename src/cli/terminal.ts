/**
 * The terminal as a guest's console: every key goes to the guest, but for the escape key, Ctrl-A:
 * `x` ends, `c` changes to the monitor and back, a second Ctrl-A is sent as it is.
 */

/** What the keys ask for. */
export interface KeyTarget {
  /** Bytes for the guest. */
  input(bytes: Uint8Array): void;
  /** Ctrl-A x. */
  quit(): void;
  /** Ctrl-A c: the next bytes go to `monitorInput`. */
  openMonitor(): void;
  /** Ctrl-A c again: they go to the guest. */
  closeMonitor(): void;
  monitorInput(bytes: Uint8Array): void;
}

const ESCAPE = 0x01;

/** Takes typed bytes apart. */
export class EscapeKeys {
  /** Whether the monitor has the keyboard. */
  monitor = false;
  #escaped = false;
  readonly #target: KeyTarget;

  constructor(target: KeyTarget) {
    this.#target = target;
  }

  /** Bytes as they were typed. */
  feed(bytes: Uint8Array): void {
    let from = 0;
    const pass = (to: number): void => {
      if (to > from) {
        const part = bytes.subarray(from, to);
        if (this.monitor) this.#target.monitorInput(part);
        else this.#target.input(part);
      }
      from = to;
    };
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]!;
      if (this.#escaped) {
        this.#escaped = false;
        if (byte === ESCAPE) continue; // passes with the bytes that follow
        from = i + 1;
        if (byte === 0x78) this.#target.quit();
        else if (byte === 0x63) {
          this.monitor = !this.monitor;
          if (this.monitor) this.#target.openMonitor();
          else this.#target.closeMonitor();
        }
      } else if (byte === ESCAPE) {
        pass(i);
        from = i + 1;
        this.#escaped = true;
      }
    }
    pass(bytes.length);
  }
}

/**
 * Takes the terminal over for a guest: raw mode, where there is one.
 * @returns a function that gives it back as it was; it is called at the end of the process in any case
 */
export function takeTerminal(onInput: (bytes: Uint8Array) => void, onEnd: () => void): () => void {
  const { stdin } = process;
  const raw = stdin.isTTY === true;
  let held = true;
  const restore = (): void => {
    if (!held) return;
    held = false;
    if (raw) stdin.setRawMode(false);
    stdin.off('data', onInput);
    stdin.off('end', onEnd);
    stdin.pause();
    process.off('exit', restore);
  };
  if (raw) stdin.setRawMode(true);
  stdin.on('data', onInput);
  stdin.on('end', onEnd);
  process.on('exit', restore);
  return restore;
}
