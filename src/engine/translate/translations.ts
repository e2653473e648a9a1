import { PRIVILEGE } from '../../isa/fields.ts';
import type { CodeCache } from '../code-cache.ts';
import type { HostCounter } from '../counters.ts';
import type { FieldValues } from '../field-values.ts';
import { jumpSet } from '../jump-table.ts';
import type { EngineObserver, PlaceDrop } from '../observer.ts';
import { SLOT } from '../slots.ts';
import {
  COUNTERS,
  COUNTERS_OFFSET,
  JUMP_ENTRY_BYTES,
  JUMP_PAGES,
  JUMP_PAGES_OFFSET,
  JUMP_SET_BYTES,
  PREDICTION_BYTES,
  PREDICTIONS,
  PREDICTIONS_OFFSET,
  SLOT_BYTES,
} from '../state.ts';
import { CodeView, type Page, SeenCode } from './code-view.ts';
import { discover } from './discover.ts';
import { type Region, regionKey, straddlingRegion } from './region.ts';
import { Turns } from './turns.ts';
import { WaitingPlaces } from './waiting.ts';

/** A region's function in a compiled module. */
export interface Translation {
  readonly module: WebAssembly.Module;
  /** The module's own: what comes from another thread twice is two objects. */
  readonly number: number;
  /** Name of the function that the module exports. */
  readonly name: string;
}

/** Who translates. */
export interface Translator {
  /** Jumps to a place after which it is hot: 1 to 65535. */
  readonly threshold: number;
  /** Places, and translations, of a hart after which it gives all up, so that what is no longer used does not stay for ever. */
  readonly capacity: number;
  /**
   * Translates a region, now or later.
   * @param key names the region's contents
   * @returns undefined if the translation comes later, by `Hart.install`
   */
  translate(key: string, region: Region): Translation | undefined;
}

export interface TranslationsOptions {
  readonly memory: WebAssembly.Memory;
  readonly area: number;
  readonly fields: FieldValues;
  readonly code: CodeCache;
  readonly translator: Translator | undefined;
  readonly count: (counter: HostCounter, by?: number) => void;
  readonly observer: EngineObserver | undefined;
  /** The engine's functions that regions import. */
  readonly engine: () => WebAssembly.Exports;
  /** (pc) -> machine address of the instruction there now; 0: none */
  readonly fetchAddress: (pc: bigint) => number;
  /** Empties the hart's jump tables, and has it leave the region that it is in. */
  readonly leave: () => void;
}

/** A region where it has been found. */
interface Place {
  /** Machine address of the entry. */
  readonly address: number;
  readonly key: string;
  readonly pages: readonly Page[];
  /** Index of its function in the hart's table; 0: not translated yet. */
  index: number;
  /** Operation of the entry's slot while the slot says that there is a translation; before, `SLOT.undecoded`. */
  operation: number;
  /** How often groups of accesses lay on two pages. */
  straddled: number;
  /** For the observer, if there is one: what was found, and at which address. */
  readonly found: { readonly pc: bigint; readonly region: Region } | undefined;
}

const PAGE_SHIFT = 12n;
const PAGE_BYTES = 4096;
const TABLE_STEP = 1024;
/** Translations that may be waited for. Few: who comes last waits for all of them. */
const MOST_WAITING = 8;
/**
 * While as many are waited for, a hot place tries again after half as many jumps each time, down to a part 2^n: what is
 * hottest tries most often, and gets the next turn.
 */
const MOST_HALVINGS = 4;
/** Ways out of a region because a group of accesses lies on two pages, until it is translated for that. */
const MOST_STRADDLED = 250;
/** Counter while there is no translator. */
const MOST_JUMPS = 0xffff;
/** A place that can't be translated, or has a region around it, is looked at again after so many times the jumps. */
const SELDOM = 16;
/** Bits of no instruction, neither of 2 bytes nor of 4: what has more than 16 ends in 11. */
const NO_INSTRUCTION = 0x1_0000;
/** Value of `fetchGranted` when the PMP grants all of the page. */
const WHOLE_PAGE = 1;

/** The translated regions of one hart: finds them, has them translated, and knows when they may be entered. */
export class Translations {
  readonly table = new WebAssembly.Table({ element: 'anyfunc', initial: TABLE_STEP });
  readonly #o: TranslationsOptions;
  readonly #view: CodeView;
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #i32: Int32Array;
  readonly #i64: BigInt64Array;
  readonly #places = new Map<number, Place>();
  /** By machine frame. */
  readonly #byFrame = new Map<number, Set<Place>>();
  readonly #waiting = new WaitingPlaces<Place>();
  readonly #translated = new Map<string, number>();
  /** How often places were hot while too many translations were waited for, by machine address. */
  readonly #postponed = new Map<number, number>();
  /** By the modules' numbers. */
  readonly #instances = new Map<number, WebAssembly.Exports>();
  readonly #turns = new Turns<Place>();
  #next = 1;

  constructor(options: TranslationsOptions) {
    const buffer = options.memory.buffer;
    this.#o = options;
    this.#view = new CodeView(buffer, options.area, options.code);
    this.#u8 = new Uint8Array(buffer);
    this.#u16 = new Uint16Array(buffer);
    this.#i32 = new Int32Array(buffer);
    this.#i64 = new BigInt64Array(buffer);
    this.cool();
  }

  /**
   * Forgets how often code was jumped to, so that what is seldom executed does not become hot in the end, and which predictions
   * were given up.
   */
  cool(): void {
    const predictions = this.#o.area + PREDICTIONS_OFFSET;
    this.#u8.fill(0, predictions, predictions + PREDICTIONS * PREDICTION_BYTES);
    const first = (this.#o.area + COUNTERS_OFFSET) >>> 1;
    this.#u16.fill(this.#o.translator?.threshold ?? MOST_JUMPS, first, first + COUNTERS);
    this.#postponed.clear();
  }

  /** A slot's counter has come to 0; pc is that of the slot. */
  hot(slot: number, pc: bigint): void {
    const { translator, code } = this.#o;
    const counter = (this.#o.area + COUNTERS_OFFSET + ((slot >>> 2) & (COUNTERS * 2 - 2))) >>> 1;
    this.#u16[counter] = translator?.threshold ?? MOST_JUMPS;
    if (translator === undefined) return;
    const address = code.codeAddress(slot);
    if (address === undefined || !code.slotWasExecuted(slot)) return;
    const known = this.#places.get(address);
    if (known !== undefined) {
      if (this.#isCurrent(known)) {
        if (known.index !== 0) this.#mark(known, slot);
        return;
      }
      this.#drop(known, 'moved');
    }
    // All blocks of a loop become hot at once: what is to come has this one, too, and it will be seen whether that is enough.
    if (this.#waiting.hasBlock(address, (place) => this.#isKnown(place))) return;
    if (this.#waiting.size >= MOST_WAITING) {
      this.#o.count('postponedPlaces');
      const times = this.#postponed.get(address) ?? 0;
      this.#postponed.set(address, times + 1);
      this.#u16[counter] = translator.threshold >>> Math.min(times + 1, MOST_HALVINGS);
      return;
    }
    const around = this.#turns.take(address);
    if (around !== undefined && this.#isCurrent(around)) {
      this.#u16[counter] = Math.min(SELDOM * translator.threshold, MOST_JUMPS);
      return;
    }
    this.#postponed.delete(address);
    const seen = new SeenCode(this.#view, address, pc);
    const region = discover(
      (offset) => seen.instruction(offset),
      (offset) => seen.targets(offset),
    );
    if (region === undefined) {
      this.#u16[counter] = Math.min(SELDOM * translator.threshold, MOST_JUMPS);
      return;
    }
    this.#o.count('hotPlaces');
    const key = regionKey(region);
    const found = this.#o.observer && { pc: BigInt.asUintN(64, pc), region };
    const place = { address, key, pages: seen.pages, index: 0, operation: SLOT.undecoded, straddled: 0, found };
    this.#add(place, region, translator, new Set(region.blocks.map(({ offset }) => seen.address(offset)!)));
    const turns = region.turns.map((offset) => seen.address(offset)!);
    this.#turns.add(place, turns);
  }

  /** A translation that was asked for has come. */
  install(key: string, translation: Translation): void {
    const index = this.#enterTable(key, translation);
    for (const place of this.#waiting.take(key)) {
      if (this.#isKnown(place)) this.#translate(place, index);
    }
  }

  /**
   * Looks at a place that is translated before it is entered by way of a slot: is all of its code where it was?
   * @returns index of the function; 0: it is not entered, and the slot is the instruction again, or has to be fetched anew
   */
  enter(slot: number, pc: bigint): number {
    // A load in this block has waited, and the page may have got another frame: it is fetched anew first.
    if (this.#o.fields.get32('refetch') !== 0) return 0;
    const place = this.#translatedAt(this.#o.code.codeAddress(slot));
    const flushes = this.#o.fields.get32('flushes');
    this.#o.count('jumpTableMisses');
    const fits = place !== undefined && this.#isCurrent(place) && this.#isMapped(place, pc);
    // The hart has waited meanwhile: what was looked at before need not hold any more, and is looked at again.
    if (this.#o.fields.get32('flushes') !== flushes) return 0;
    // A page that it has waited for may have come back to the frame that it had: the same one, but not in the same use.
    if (!fits || !this.#isCurrent(place)) {
      this.#o.count('refusedEntries');
      if (place === undefined) this.#o.code.forget(slot);
      else this.#o.code.setOperation(slot, place.operation);
      return 0;
    }
    const entry = this.#o.fields.get32('jumpTable') + jumpSet(pc) * JUMP_SET_BYTES;
    this.#u8.copyWithin(entry + JUMP_ENTRY_BYTES, entry, entry + JUMP_ENTRY_BYTES);
    this.#i64[entry / 8] = BigInt.asIntN(64, pc | 1n);
    this.#i32[(entry + 8) >>> 2] = place.index;
    this.#i32[(entry + 12) >>> 2] = this.#o.fields.get32('jumpSpace');
    this.#o.fields.set32('jumpTableUsed', 1);
    for (const { delta } of place.pages) {
      const page = Number(((pc >> PAGE_SHIFT) + delta) & BigInt(JUMP_PAGES - 1));
      this.#u8[this.#o.area + JUMP_PAGES_OFFSET + (page >>> 3)]! |= 1 << (page & 7);
    }
    return place.index;
  }

  /** Puts the instruction that a slot stands for into another slot, which stands for no place. */
  step(slot: number, into: number): void {
    const place = this.#translatedAt(this.#o.code.codeAddress(slot));
    this.#i32[(into + 4) >>> 2] = this.#i32[(slot + 4) >>> 2]!;
    this.#i32[into >>> 2] = this.#i32[slot >>> 2]!;
    if (place === undefined) {
      // Given up in the meantime: the slot is decoded anew when it is jumped to the next time.
      this.#o.code.forget(slot);
      this.#o.code.setOperation(into, SLOT.blockEnd);
    } else this.#o.code.setOperation(into, place.operation);
    // The crossing slot is known by the bits that it holds.
    this.#o.fields.set32('crossingBits', place === undefined ? NO_INSTRUCTION : this.#view.bits(place.address));
  }

  /** Slots from one on have been decoded, for code of one page: those where a translation is known say so. */
  decoded(slot: number, start: number, end: number): void {
    const places = this.#byFrame.get(Math.floor(start / PAGE_BYTES));
    if (places === undefined) return;
    for (const place of places) {
      const { address } = place;
      if (address < start || address >= end || place.index === 0 || !this.#isCurrent(place)) continue;
      this.#mark(place, slot + ((address - start) / 2) * SLOT_BYTES);
    }
  }

  /** The region whose entry is at `entry` was left as a group of accesses lies on two pages. */
  straddled(entry: bigint): void {
    const { translator, fetchAddress } = this.#o;
    this.#o.fields.set32('straddled', 0);
    const place = this.#translatedAt(fetchAddress(entry));
    if (place === undefined || translator === undefined || !this.#isCurrent(place)) return;
    // However many are waited for: this one is hot, and asked for once.
    if (++place.straddled < MOST_STRADDLED) return;
    const region = straddlingRegion(place.key);
    if (region === undefined) return;
    // What there is remains in use until the other one comes.
    const other = { ...place, key: regionKey(region), straddled: 0 };
    this.#remove(place);
    this.#add(other, region, translator, new Set());
  }

  /** The code in a frame changes. */
  frameChanged(mfn: number): void {
    const places = this.#byFrame.get(mfn);
    if (places === undefined) return;
    for (const place of places) this.#drop(place, 'written');
    this.#o.leave();
  }

  /**
   * The place at a machine address if it is translated. A slot may still stand for a place that was given up when code beside it
   * was written to; a new one there has no translation yet.
   */
  #translatedAt(address: number | undefined): Place | undefined {
    const place = address === undefined ? undefined : this.#places.get(address);
    return place?.index === 0 ? undefined : place;
  }

  /** @param blocks machine addresses of the region's blocks there */
  #add(place: Place, region: Region, translator: Translator, blocks: ReadonlySet<number>): void {
    if (this.#places.size >= translator.capacity || this.#next > translator.capacity) {
      this.#reset();
      place.index = 0;
    }
    this.#places.set(place.address, place);
    for (const { mfn } of place.pages) {
      const places = this.#byFrame.get(mfn) ?? new Set();
      this.#byFrame.set(mfn, places.add(place));
    }
    const { key } = place;
    const index = this.#translated.get(key);
    if (index !== undefined) {
      this.#translate(place, index);
      return;
    }
    if (this.#waiting.has(key)) {
      this.#waiting.add(key, place, blocks);
      return;
    }
    this.#o.count('requestedTranslations');
    const translation = translator.translate(key, region);
    if (translation === undefined) this.#waiting.add(key, place, blocks);
    else this.#translate(place, this.#enterTable(key, translation));
  }

  #isKnown(place: Place): boolean {
    return this.#places.get(place.address) === place;
  }

  #enterTable(key: string, { module, number, name }: Translation): number {
    let exports = this.#instances.get(number);
    if (exports === undefined) {
      const env = { ...this.#o.engine(), memory: this.#o.memory };
      exports = new WebAssembly.Instance(module, { env }).exports;
      this.#instances.set(number, exports);
      this.#o.count('loadedModules');
    }
    if (this.#next === this.table.length) this.table.grow(TABLE_STEP);
    const index = this.#next++;
    this.table.set(index, exports[name]);
    this.#translated.set(key, index);
    this.#o.count('installedTranslations');
    return index;
  }

  #translate(place: Place, index: number): void {
    // What leads to the one before, jump tables above all, then leads to the new one, and loses nothing.
    if (place.index === 0) place.index = index;
    else this.table.set(place.index, this.table.get(index));
    this.#o.count('translatedPlaces');
    const { found, key } = place;
    if (found !== undefined) this.#o.observer?.placeTranslated?.(found.pc, key, found.region);
    const slot = this.#o.code.slotAt(place.address);
    if (slot !== undefined && this.#isCurrent(place)) this.#mark(place, slot);
  }

  #mark(place: Place, slot: number): void {
    const operation = this.#o.code.markTranslated(slot);
    if (operation !== undefined) place.operation = operation;
    // The slot stands for a place that was given up, and is marked when it has been decoded again.
    else if (place.operation === SLOT.undecoded) this.#o.code.forget(slot);
  }

  #drop(place: Place, reason: PlaceDrop): void {
    const { found, index } = place;
    if (found !== undefined && index !== 0) this.#o.observer?.placeDropped?.(found.pc, reason);
    this.#o.count('droppedPlaces');
    this.#remove(place);
    const slot = this.#o.code.slotAt(place.address);
    if (slot !== undefined && place.index !== 0) this.#o.code.forget(slot);
  }

  #remove(place: Place): void {
    this.#places.delete(place.address);
    this.#turns.remove(place);
    for (const { mfn } of place.pages) {
      const places = this.#byFrame.get(mfn);
      places?.delete(place);
      if (places?.size === 0) this.#byFrame.delete(mfn);
    }
  }

  #reset(): void {
    for (const place of [...this.#places.values()]) this.#drop(place, 'full');
    this.#o.count('releasedTranslations', this.#next - 1);
    this.#o.count('releasedModules', this.#instances.size);
    this.#waiting.clear();
    this.#turns.clear();
    this.#translated.clear();
    this.#instances.clear();
    for (let index = 1; index < this.#next; index++) this.table.set(index, null);
    this.#next = 1;
    this.#o.leave();
  }

  #isCurrent({ pages }: Place): boolean {
    return pages.every(({ mfn, generation }) => this.#o.code.frameGeneration(mfn) === generation);
  }

  /** True if the pages of a place at `pc` are mapped to the frames that it was found on. */
  #isMapped({ pages }: Place, pc: bigint): boolean {
    const supervisor = this.#o.fields.get32('privilege') === PRIVILEGE.S;
    return pages.every(({ delta, mfn }) => {
      if (delta === 0n && !supervisor) return true;
      const address = this.#o.fetchAddress(((pc >> PAGE_SHIFT) + delta) << PAGE_SHIFT);
      if (Math.floor(address / PAGE_BYTES) !== mfn || this.#o.fields.get32('fetchGranted') !== WHOLE_PAGE) return false;
      if (supervisor && this.#o.fields.get32('fetchGlobal') === 0) this.#o.fields.set32('jumpTableLocal', 1);
      return true;
    });
  }

  /** Whether a region is known at an address, as far as the fetch TLB knows the address. */
  isTranslated(pc: bigint): boolean {
    return this.#translatedAt(this.#view.address(pc)) !== undefined;
  }

  /** The instruction at an address, if the fetch TLB has it on one page. */
  bitsAt(pc: bigint): number | undefined {
    const address = this.#view.address(pc);
    return address === undefined ? undefined : this.#view.bits(address) || undefined;
  }
}
