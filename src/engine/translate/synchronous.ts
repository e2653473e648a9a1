import { type Instruments, NO_INSTRUMENTS } from '../observer.ts';
import type { Region } from './region.ts';
import { regionName, translate } from './translate.ts';
import type { Translation, Translator } from './translations.ts';

/** Regions: some megabytes of machine code. */
const CAPACITY = 4000;

/** Translates each region at once, in the thread that asks: the hart waits for it. */
export class SynchronousTranslator implements Translator {
  readonly threshold: number;
  readonly capacity: number;
  readonly #instruments: Instruments;
  readonly #known = new Map<string, Translation>();
  #modules = 0;

  /**
   * @param threshold jumps to a place after which it is translated
   * @param capacity translations after which all are given up
   */
  constructor(threshold: number, instruments: Instruments = NO_INSTRUMENTS, capacity: number = CAPACITY) {
    this.#instruments = instruments;
    this.threshold = threshold;
    this.capacity = capacity;
  }

  translate(key: string, region: Region): Translation {
    let translation = this.#known.get(key);
    if (translation === undefined) {
      const module = new WebAssembly.Module(translate([region], this.#instruments));
      translation = { module, number: this.#modules++, name: regionName(0) };
      if (this.#known.size >= this.capacity) this.#known.clear();
      this.#known.set(key, translation);
    }
    return translation;
  }
}
