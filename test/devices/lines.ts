import type { IrqLine } from '../../src/devices/bus.ts';
import type { HartLines } from '../../src/devices/hart-lines.ts';

/** An interrupt wire that remembers its level and how often it rose. */
export class RecordedLine implements IrqLine {
  level = false;
  rises = 0;

  set(level: boolean): void {
    if (level && !this.level) this.rises++;
    this.level = level;
  }
}

/** The interrupt inputs of a hart as the value of `mip`. */
export class RecordedHart implements HartLines {
  mip = 0;

  setPending(bit: number, level: boolean): void {
    this.mip = level ? this.mip | (1 << bit) : this.mip & ~(1 << bit);
  }

  isPending(bit: number): boolean {
    return (this.mip & (1 << bit)) !== 0;
  }
}
