/** A small machine for tests: harts with a software TLB each, over the real memory, and what their pages must hold. */

import assert from 'node:assert/strict';
import { GuestBalloon } from '../../src/machine/balloon.ts';
import { DiskMap } from '../../src/memory/disk-map.ts';
import { FaultHandler } from '../../src/memory/fault.ts';
import { frameHasCode, setFrameFlag } from '../../src/memory/frames.ts';
import { createGuest, Guest } from '../../src/memory/guest.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import {
  FRAME_CODE,
  GUEST_RAM_BASE,
  NPT_ACCESSED,
  NPT_DIRTY,
  NPT_KIND_MASK,
  NPT_PRESENT,
  NPT_WRITABLE,
  PAGE_SIZE,
} from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { STORE_AGAIN, STORE_REFUSED } from '../../src/memory/overwrite.ts';
import { HartControl } from '../../src/memory/shootdown.ts';
import type { SlotStore } from '../../src/memory/swap.ts';

/** Blocks of a guest's disk. */
export const DISK_BLOCKS = 12;

/**
 * A hart that caches translations until it is told to forget them, as a real one does; `alias` is another virtual address. So it
 * does with code: what it has decoded of a page.
 */
export class TestHart {
  readonly control: HartControl;
  readonly faults: FaultHandler;
  readonly memory: GuestMemory;
  readonly guest: Guest;
  readonly #tlb = new Map<number, number>();
  /** By page: the frame that its code was in, and the bytes. */
  readonly #code = new Map<number, { mfn: number; bytes: Uint8Array }>();
  /** The last address for a store is good for that one only. */
  #single = false;

  constructor(machine: MachineMemory, slot: number, hart: number, store: SlotStore, bringIn?: (gfn: number) => void) {
    this.guest = Guest.attach(machine, slot);
    this.control = new HartControl(this.guest, hart, {
      flush: () => {
        this.#tlb.clear();
        this.#code.clear();
      },
      forgetFrames: (frames) => this.#forgetFrames(frames && Array.from(frames)),
      forgetData: () => this.#tlb.clear(),
    });
    this.faults = new FaultHandler(this.control, { store, bringIn });
    this.memory = new GuestMemory(this.faults);
    this.memory.onWrite = (mfn) => this.codeWritten(mfn);
  }

  #forgetFrames(frames: readonly number[] | undefined): void {
    for (const [key, cached] of this.#tlb) {
      if (frames === undefined || frames.includes(Math.floor(cached / 2))) this.#tlb.delete(key);
    }
    if (frames === undefined || frames.some((mfn) => this.#mayHold(mfn))) this.#code.clear();
  }

  #mayHold(mfn: number): boolean {
    const { memory } = this.guest;
    if (mfn !== memory.zeroFrame) return frameHasCode(memory, mfn);
    return [...this.#code.values()].some((code) => code.mfn === mfn);
  }

  /** What the hart executes in a page; `dropWrites` has all harts of the guest forget the right to write to a frame. */
  execute(gfn: number, dropWrites: (mfn: number) => void): Uint8Array {
    let code = this.#code.get(gfn);
    if (code === undefined) {
      const { memory } = this.guest;
      const mfn = Math.floor(this.#walk(gfn, false) / 2);
      if (mfn !== memory.zeroFrame && !frameHasCode(memory, mfn)) {
        setFrameFlag(memory, mfn, FRAME_CODE);
        dropWrites(mfn);
      }
      code = { mfn, bytes: memory.u8.slice(mfn * PAGE_SIZE, (mfn + 1) * PAGE_SIZE) };
      this.#code.set(gfn, code);
    }
    return code.bytes;
  }

  /** Forgets the right to write to a frame. */
  dropWrites(mfn: number): void {
    for (const [key, cached] of this.#tlb) if (cached === mfn * 2 + 1) this.#tlb.delete(key);
  }

  /** A frame that code is in changes. */
  codeWritten(mfn: number): void {
    for (const [gfn, code] of this.#code) if (code.mfn === mfn) this.#code.delete(gfn);
  }

  /** Code may have been changed by other harts. */
  fenceI(): void {
    this.#code.clear();
  }

  /** Whether the nested page table lets the hart write to a page. */
  writable(gfn: number): boolean {
    const wanted = NPT_PRESENT | NPT_WRITABLE;
    return (Atomics.load(this.guest.memory.i32, this.guest.npt + gfn) & wanted) === wanted;
  }

  /** Machine address of a byte that is stored to; `storeMade` has to follow. */
  storeAddress(gfn: number, offset: number): number {
    for (;;) {
      const address = this.writable(gfn) ? STORE_REFUSED : this.faults.store(gfn, offset);
      this.#single = address > 0;
      if (address === STORE_REFUSED) return this.translate(gfn, true) + offset;
      if (address !== STORE_AGAIN) return address;
    }
  }

  storeMade(bytes: number): void {
    if (this.#single) this.faults.noteStore(bytes);
  }

  /** Machine address of a page, through the TLB and the walk that the engine does. */
  translate(gfn: number, write: boolean, alias = 0): number {
    const key = alias * this.guest.pages + gfn;
    let cached = this.#tlb.get(key);
    if (cached === undefined || (write && cached % 2 === 0)) {
      cached = this.#walk(gfn, write);
      // A frame with code is looked at for each store.
      if (!write || !frameHasCode(this.guest.memory, Math.floor(cached / 2))) this.#tlb.set(key, cached);
    }
    return Math.floor(cached / 2) * PAGE_SIZE;
  }

  /** The frame of a page, doubled; odd: it may be written to. */
  #walk(gfn: number, write: boolean): number {
    const { i32 } = this.guest.memory;
    for (;;) {
      const entry = Atomics.load(i32, this.guest.npt + gfn);
      const present = (entry & NPT_PRESENT) !== 0;
      if (present ? !write || (entry & NPT_WRITABLE) !== 0 : !write && (entry & NPT_KIND_MASK) === 0) {
        const used = entry | NPT_ACCESSED | (write ? NPT_DIRTY : 0);
        if (Atomics.compareExchange(i32, this.guest.npt + gfn, entry, used) === entry) {
          return (present ? entry >>> 8 : this.guest.memory.zeroFrame) * 2 + (write ? 1 : 0);
        }
      } else {
        this.faults.fault(gfn, write);
      }
    }
  }
}

/** A swap store in ordinary memory that can be made to fail. */
export class TestStore implements SlotStore {
  readonly #pages = new Map<number, Uint8Array>();
  /** Errors for the next calls. */
  failWrites: Error[] = [];
  failReads: Error[] = [];
  onRead: () => void = () => {};
  onWrite: () => void = () => {};
  /** Pages read and written, and calls that read. */
  reads = 0;
  writes = 0;
  readTurns = 0;

  read(slot: number, targets: readonly Uint8Array[]): void {
    this.onRead();
    const error = this.failReads.pop();
    if (error !== undefined) {
      for (const target of targets) target.fill(0xdd);
      throw error;
    }
    for (const [i, target] of targets.entries()) {
      const page = this.#pages.get(slot + i);
      assert.ok(page, `slot ${slot + i} was read before it was written`);
      target.set(page);
    }
    this.reads += targets.length;
    this.readTurns++;
  }

  write(slot: number, sources: readonly Uint8Array[]): void {
    // Somebody may write to the pages in between.
    const halves = sources.map((source) => source.slice(0, PAGE_SIZE / 2));
    this.onWrite();
    const error = this.failWrites.pop();
    for (const [i, source] of sources.entries()) {
      const page = new Uint8Array(PAGE_SIZE).fill(0xee);
      if (error === undefined) {
        page.set(halves[i]!);
        page.set(source.subarray(PAGE_SIZE / 2), PAGE_SIZE / 2);
      }
      this.#pages.set(slot + i, page);
    }
    if (error !== undefined) {
      throw error;
    }
    this.writes += sources.length;
  }
}

/** A disk in ordinary memory. */
export class TestDisk {
  readonly bytes: Uint8Array;
  reads = 0;
  failReads: Error[] = [];
  onRead: () => void = () => {};

  constructor(blocks: number) {
    this.bytes = new Uint8Array(blocks * PAGE_SIZE).map((_, i) => 1 + (((i >>> 12) * 7 + (i & 63)) % 255));
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  read(offset: number, target: Uint8Array): void {
    this.onRead();
    const error = this.failReads.pop();
    if (error !== undefined) throw error;
    target.set(this.bytes.subarray(offset, offset + target.length));
    this.reads++;
  }
}

/** A guest of the model: its harts, parked unless one of them does something, and the contents that it must see. */
export class TestGuest {
  readonly slot: number;
  readonly pages: number;
  readonly contents: Uint8Array;
  readonly harts: TestHart[] = [];
  /** A disk, which the first hart's thread has. */
  readonly disk = new TestDisk(DISK_BLOCKS);
  readonly map: DiskMap;
  readonly #memory: MachineMemory;
  readonly #balloon: GuestBalloon;
  /** What has been read of the guest since it was frozen, page by page. */
  #snapshot: Uint8Array[] | undefined;

  constructor(memory: MachineMemory, name: string, pages: number, harts: number, store: SlotStore, domain = 0) {
    const guest = createGuest(memory, { name, memoryBytes: pages * PAGE_SIZE, harts, minimumBytes: 0, domain });
    this.slot = guest.slot;
    this.pages = pages;
    this.contents = new Uint8Array(pages * PAGE_SIZE);
    this.#memory = MachineMemory.attach(memory.buffer, guest.slot + 1);
    for (let hart = 0; hart < harts; hart++) {
      const bringIn = (gfn: number) => this.run(0, ({ faults }) => faults.fault(gfn, false));
      this.harts.push(new TestHart(this.#memory, this.slot, hart, store, hart === 0 ? undefined : bringIn));
    }
    this.map = new DiskMap(this.harts[0]!.faults, [this.disk]);
    this.#balloon = new GuestBalloon(this.harts[0]!.guest, this.harts[0]!.memory, () => 0);
  }

  /** While it is frozen, no hart may do anything but `snapshot`. */
  get frozen(): boolean {
    return this.#snapshot !== undefined;
  }

  /** Stops all harts; what the guest has now is to be read, page by page, while the memory manager goes on. */
  freeze(): void {
    this.#snapshot = [];
  }

  /** Reads the next page of what the guest had when it was frozen. */
  snapshot(): void {
    const gfn = this.#snapshot!.length;
    if (gfn === this.pages) return;
    const page = new Uint8Array(PAGE_SIZE);
    this.run(0, ({ memory }) => memory.read(GUEST_RAM_BASE + gfn * PAGE_SIZE, page));
    this.#snapshot!.push(page);
  }

  /** Reads what is left, compares all with what the guest has to have, and lets the harts go on. */
  thaw(): void {
    while (this.#snapshot!.length < this.pages) this.snapshot();
    for (const [gfn, page] of this.#snapshot!.entries()) this.#compare(gfn, page);
    this.#snapshot = undefined;
  }

  /** What a hart executes in a page is what the page holds. */
  execute(hart: number, gfn: number): void {
    this.run(hart, (runs) => {
      const bytes = runs.execute(gfn, (mfn) => {
        for (const each of this.harts) each.dropWrites(mfn);
      });
      this.#compare(gfn, bytes);
    });
  }

  /** A hart has changed memory: the others execute fence.i before they execute what it has written; itself it is told of code. */
  #changed(by: TestHart, mfn?: number): void {
    if (mfn !== undefined && frameHasCode(this.#memory, mfn)) by.codeWritten(mfn);
    for (const each of this.harts) if (each !== by) each.fenceI();
  }

  /** Lets a hart run for a moment; the others sleep. */
  run<T>(hart: number, action: (hart: TestHart) => T): T {
    const runs = this.harts[hart % this.harts.length]!;
    runs.control.unpark();
    try {
      return action(runs);
    } finally {
      runs.control.park();
    }
  }

  /** Reads through a TLB and compares every byte of the page. */
  read(hart: number, gfn: number, alias = 0): void {
    this.run(hart, (runs) => {
      const address = runs.translate(gfn, false, alias);
      this.#compare(gfn, this.#memory.u8.subarray(address, address + PAGE_SIZE));
    });
  }

  /** Stores bytes of a page one by one, as the engine does: each by itself while the page is not there. */
  stores(hart: number, gfn: number, offset: number, bytes: Uint8Array): void {
    this.run(hart, (runs) => {
      for (const [i, byte] of bytes.entries()) {
        const address = runs.storeAddress(gfn, offset + i);
        this.#memory.u8[address] = byte;
        runs.storeMade(1);
        this.contents[gfn * PAGE_SIZE + offset + i] = byte;
        this.#changed(runs, Math.floor(address / PAGE_SIZE));
      }
    });
  }

  /** Writes a byte through a TLB. */
  write(hart: number, gfn: number, offset: number, value: number, alias = 0): void {
    this.run(hart, (runs) => {
      const address = runs.translate(gfn, true, alias);
      this.#memory.u8[address + offset] = value;
      this.contents[gfn * PAGE_SIZE + offset] = value;
      this.#changed(runs, address / PAGE_SIZE);
    });
  }

  /** Reads by DMA and compares. */
  dmaRead(hart: number, gfn: number): void {
    this.run(hart, ({ memory }) => {
      const page = new Uint8Array(PAGE_SIZE);
      memory.read(GUEST_RAM_BASE + gfn * PAGE_SIZE, page);
      this.#compare(gfn, page);
    });
  }

  /** Writes by DMA, anywhere and of any length that fits. */
  dmaWrite(hart: number, start: number, bytes: Uint8Array): void {
    this.run(hart, (runs) => {
      runs.memory.write(GUEST_RAM_BASE + start, bytes);
      this.contents.set(bytes, start);
      this.#changed(runs);
    });
  }

  /** A device reads blocks of the disk into pages. */
  diskRead(gfn: number, block: number, count: number): void {
    this.run(0, (runs) => {
      const { memory } = runs;
      const bytes = this.disk.bytes.slice(block * PAGE_SIZE, (block + count) * PAGE_SIZE);
      memory.write(GUEST_RAM_BASE + gfn * PAGE_SIZE, bytes);
      this.contents.set(bytes, gfn * PAGE_SIZE);
      this.map.watch(0).same(GUEST_RAM_BASE + gfn * PAGE_SIZE, block * PAGE_SIZE, bytes);
      this.#changed(runs);
    });
  }

  /** A device writes pages to the disk, from any byte on. */
  diskWrite(gfn: number, offset: number, length: number): void {
    this.run(0, ({ memory }) => {
      const bytes = new Uint8Array(length);
      this.map.watch(0).changing(offset, length);
      memory.read(GUEST_RAM_BASE + gfn * PAGE_SIZE, bytes);
      this.disk.bytes.set(bytes, offset);
      this.map.watch(0).same(GUEST_RAM_BASE + gfn * PAGE_SIZE, offset, bytes);
    });
  }

  /** The balloon takes pages, in any order. */
  inflate(gfns: readonly number[]): void {
    this.run(0, () => this.#balloon.inflate(Uint32Array.from(gfns)));
    for (const gfn of gfns) this.contents.fill(0, gfn * PAGE_SIZE, (gfn + 1) * PAGE_SIZE);
    this.#changed(this.harts[0]!);
  }

  /** The guest reports that pages are free. It says nothing before it uses them again. */
  report(gfn: number, count: number): void {
    this.run(0, () => this.#balloon.report(gfn, count));
    this.contents.fill(0, gfn * PAGE_SIZE, (gfn + count) * PAGE_SIZE);
    this.#changed(this.harts[0]!);
  }

  /** Discards pages by any hart, which then read as zeros. */
  discard(hart: number, gfn: number, count: number): void {
    this.run(hart, (runs) => {
      runs.memory.discard(gfn, count, true);
      this.contents.fill(0, gfn * PAGE_SIZE, (gfn + count) * PAGE_SIZE);
      this.#changed(runs);
    });
  }

  /** Compares every page, by both aliases, and by DMA. */
  verify(): void {
    for (let gfn = 0; gfn < this.pages; gfn++) {
      this.read(gfn, gfn, gfn % 2);
      this.execute(gfn, gfn);
      this.dmaRead(gfn + 1, gfn);
    }
  }

  /** The guest's end; the memory manager frees what it had. */
  end(): void {
    this.harts[0]!.guest.end();
  }

  #compare(gfn: number, page: Uint8Array): void {
    const expected = this.contents.subarray(gfn * PAGE_SIZE, (gfn + 1) * PAGE_SIZE);
    if (Buffer.compare(page, expected) !== 0) {
      const at = page.findIndex((byte, i) => byte !== expected[i]);
      assert.fail(`page ${gfn} of the guest in slot ${this.slot}, byte ${at}: is ${page[at]}, must be ${expected[at]}`);
    }
  }
}
