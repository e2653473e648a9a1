/** Guests as the memory sees them: the guest table, guest blocks, hart areas. */

import { freePieces } from './code-memory.ts';
import { HeapFullError, MemoryError } from './errors.ts';
import { allocateHeap, freeHeap } from './heap.ts';
import {
  GUEST_SLOTS,
  HART_CONTROL_BYTES,
  HART_PARKED,
  HART_REQUEST_BYTE,
  HART_STATE_BYTE,
  HART_WAKE_BYTE,
  HEADER_GUEST_COUNT,
  HEADER_GUEST_TABLE,
  HEADER_HEAP_FREE,
  PAGE_SIZE,
} from './layout.ts';
import {
  BALLOON_STATISTICS,
  DOMAIN_MAX,
  DOMAIN_NONE,
  DOMAIN_ZERO_ONLY,
  GUEST_BALLOON_MANUAL,
  GUEST_BALLOON_STATISTICS,
  GUEST_DOMAIN,
  GUEST_ENDED,
  GUEST_HART_AREAS,
  GUEST_HARTS,
  GUEST_MAXIMUM,
  GUEST_MINIMUM,
  GUEST_NAME_BYTE,
  GUEST_NAME_BYTES,
  GUEST_NPT,
  GUEST_OVERHEAD,
  GUEST_OVERWRITES,
  GUEST_PAGES,
  GUEST_RUNNING,
  GUEST_SHARES,
  GUEST_SIBLINGS_HALT,
  GUEST_SLOT,
  GUEST_STALL_LIMIT,
  GUEST_STATE,
  GUEST_STOPPING,
  GUEST_TARGET,
  MAX_HARTS,
} from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';

/** What a guest is made with. */
export interface GuestOptions {
  /** Shown in tables and errors; at most 128 bytes of UTF-8 are kept. */
  name: string;
  /** Configured memory in bytes, a multiple of 4096. */
  memoryBytes: number;
  /** Number of harts, 1 by default. */
  harts?: number;
  /** Bytes of a hart area that the engine needs behind the control block. */
  hartBytes?: number;
  /** Relative weight, by default the configured memory in MiB. */
  shares?: number;
  /** Memory that is always left to the guest, bytes; by default a quarter of the configured memory. */
  minimumBytes?: number;
  /** The most memory that it may have, bytes; by default its configured memory. */
  maximumBytes?: number;
  /** Part of its time that it may wait for memory before it is spared, 0 to 1; 1 by default: it is never spared. */
  stallLimit?: number;
  /** Sharing domain, 0 by default: a number up to DOMAIN_MAX, DOMAIN_ZERO_ONLY or DOMAIN_NONE. */
  domain?: number;
}

/** A thread's handle to a guest. */
export class Guest {
  readonly memory: MachineMemory;
  /** Slot in the guest table. */
  readonly slot: number;
  /** Word position of the guest block. */
  readonly block: number;
  /** Word position of the nested page table. */
  readonly npt: number;
  /** Configured memory in pages. */
  readonly pages: number;
  readonly harts: number;
  /** The numbers of all harts, 0 and up. */
  readonly allHarts: readonly number[];
  readonly name: string;

  private constructor(memory: MachineMemory, slot: number, block: number) {
    this.memory = memory;
    this.slot = slot;
    this.block = block;
    const { i32, u8 } = memory;
    this.npt = i32[block + GUEST_NPT]! >>> 2;
    this.pages = i32[block + GUEST_PAGES]!;
    this.harts = i32[block + GUEST_HARTS]!;
    this.allHarts = Array.from({ length: this.harts }, (_, hart) => hart);
    const bytes = u8.slice(block * 4 + GUEST_NAME_BYTE, block * 4 + GUEST_NAME_BYTE + GUEST_NAME_BYTES);
    const end = bytes.indexOf(0);
    this.name = new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  }

  /** The guest in a slot of the guest table. Throws MemoryError if there is none. */
  static attach(memory: MachineMemory, slot: number): Guest {
    const address = slot >= 0 && slot < GUEST_SLOTS ? Atomics.load(memory.i32, HEADER_GUEST_TABLE + slot) : 0;
    if (address === 0) {
      throw new MemoryError(`there is no guest in slot ${slot}`);
    }
    return new Guest(memory, slot, address >>> 2);
  }

  /** Reads a word of the guest block (GUEST_*, COUNT_*). */
  get(word: number): number {
    return Atomics.load(this.memory.i32, this.block + word);
  }

  /** Writes a word of the guest block. */
  set(word: number, value: number): void {
    Atomics.store(this.memory.i32, this.block + word, value);
  }

  /** Adds to a word of the guest block. */
  add(word: number, value: number): void {
    Atomics.add(this.memory.i32, this.block + word, value);
  }

  /** Byte address of the area of a hart; its control block is at the start. */
  hartArea(hart: number): number {
    return this.memory.i32[this.block + GUEST_HART_AREAS + hart]! >>> 0;
  }

  /** Byte address of the nested page table. */
  get nptAddress(): number {
    return this.npt * 4;
  }

  /** Sets bits in the REQUEST word of harts, by default of all, and wakes those that sleep. */
  request(bits: number, harts: readonly number[] = this.allHarts): void {
    for (const hart of harts) {
      Atomics.or(this.memory.i32, (this.hartArea(hart) + HART_REQUEST_BYTE) >>> 2, bits);
      this.wake(hart);
    }
  }

  /** Has a hart that sleeps look at everything again. */
  wake(hart: number): void {
    const { i32 } = this.memory;
    const word = (this.hartArea(hart) + HART_WAKE_BYTE) >>> 2;
    Atomics.add(i32, word, 1);
    Atomics.notify(i32, word);
  }

  /** Tells the harts to come to an end; those that wait for memory throw GuestStoppedError. */
  stop(): void {
    Atomics.compareExchange(this.memory.i32, this.block + GUEST_STATE, GUEST_RUNNING, GUEST_STOPPING);
    this.memory.progress();
  }

  /**
   * To be called when no thread uses the guest any more (its workers have ended). The memory manager then frees its frames,
   * swap slots and heap with its next tick; the handle must not be used afterwards.
   */
  end(): void {
    this.set(GUEST_STATE, GUEST_ENDED);
    this.memory.wakeManager();
  }
}

/** Makes a guest: block, nested page table (all untouched zero pages) and hart areas. Takes the mutex itself. */
export function createGuest(memory: MachineMemory, options: GuestOptions): Guest {
  const { name, memoryBytes, harts = 1, hartBytes = 0 } = options;
  const pages = memoryBytes / PAGE_SIZE;
  if (!Number.isInteger(pages) || pages <= 0 || memoryBytes > 2 ** 32 - 2 ** 31) {
    throw new MemoryError(`guest ${name}: memory of ${memoryBytes} bytes; give a multiple of ${PAGE_SIZE} up to 2 GiB`);
  }
  if (!Number.isInteger(harts) || harts < 1 || harts > MAX_HARTS) {
    throw new MemoryError(`guest ${name}: ${harts} harts; give 1 to ${MAX_HARTS}`);
  }
  const shares = options.shares ?? Math.max(1, Math.round(memoryBytes / 2 ** 20));
  if (!Number.isInteger(shares) || shares < 1 || shares > 1_000_000) {
    throw new MemoryError(`guest ${name}: ${shares} shares; give a whole number from 1 to 1000000`);
  }
  const minimum = Math.floor((options.minimumBytes ?? memoryBytes / 4) / PAGE_SIZE);
  if (!(minimum >= 0 && minimum <= pages)) {
    throw new MemoryError(
      `guest ${name}: minimum of ${options.minimumBytes} bytes; give 0 up to its ${memoryBytes} bytes`,
    );
  }
  const maximum = Math.floor((options.maximumBytes ?? memoryBytes) / PAGE_SIZE);
  if (!(maximum >= minimum && maximum <= pages && maximum > 0)) {
    throw new MemoryError(
      `guest ${name}: maximum of ${options.maximumBytes} bytes; give its minimum of ${minimum * PAGE_SIZE} up to ${memoryBytes} bytes`,
    );
  }
  const domain = options.domain ?? 0;
  if (!Number.isInteger(domain) || domain < DOMAIN_NONE || domain > DOMAIN_MAX) {
    throw new MemoryError(
      `guest ${name}: sharing domain ${domain}; give 0 to ${DOMAIN_MAX}, or ${DOMAIN_ZERO_ONLY} or ${DOMAIN_NONE}`,
    );
  }
  const stallLimit = options.stallLimit ?? 1;
  if (!(stallLimit > 0 && stallLimit <= 1)) {
    throw new MemoryError(`guest ${name}: stall limit of ${stallLimit}; give a part of 1 above 0`);
  }
  const { i32 } = memory;
  const runs: number[] = [];
  memory.lock();
  try {
    let slot = 0;
    while (slot < GUEST_SLOTS && i32[HEADER_GUEST_TABLE + slot] !== 0) {
      slot++;
    }
    if (slot === GUEST_SLOTS) {
      throw new MemoryError(`guest ${name}: the host has ${GUEST_SLOTS} guests already, which is all it can have`);
    }
    const allocate = (bytes: number, what: string): number => {
      const address = allocateHeap(memory, bytes, `guest ${name}: ${what}`);
      runs.push(address);
      return address;
    };
    const before = i32[HEADER_HEAP_FREE]!;
    const block = allocate(PAGE_SIZE, 'the guest block') >>> 2;
    i32[block + GUEST_NPT] = allocate(pages * 4, 'the nested page table');
    i32[block + GUEST_OVERWRITES] = allocate(PAGE_SIZE, 'the account of pages that are being overwritten');
    for (let hart = 0; hart < harts; hart++) {
      const area = allocate(HART_CONTROL_BYTES + hartBytes, `the area of hart ${hart}`);
      i32[block + GUEST_HART_AREAS + hart] = area;
      // A hart that no thread runs yet holds no translation.
      i32[(area + HART_STATE_BYTE) >>> 2] = HART_PARKED;
    }
    i32[block + GUEST_SLOT] = slot;
    i32[block + GUEST_PAGES] = pages;
    i32[block + GUEST_HARTS] = harts;
    i32[block + GUEST_SHARES] = shares;
    i32[block + GUEST_MINIMUM] = minimum;
    i32[block + GUEST_MAXIMUM] = maximum;
    i32[block + GUEST_STALL_LIMIT] = Math.max(1, Math.round(stallLimit * 1000));
    i32[block + GUEST_TARGET] = maximum;
    i32[block + GUEST_OVERHEAD] = before - i32[HEADER_HEAP_FREE]!;
    i32[block + GUEST_DOMAIN] = domain;
    i32[block + GUEST_BALLOON_MANUAL] = -1;
    i32[block + GUEST_SIBLINGS_HALT] = 1;
    i32.fill(-1, block + GUEST_BALLOON_STATISTICS, block + GUEST_BALLOON_STATISTICS + BALLOON_STATISTICS);
    const encoded = new Uint8Array(GUEST_NAME_BYTES);
    new TextEncoder().encodeInto(name, encoded);
    memory.u8.set(encoded, block * 4 + GUEST_NAME_BYTE);
    i32[block + GUEST_STATE] = GUEST_RUNNING;
    i32[HEADER_GUEST_COUNT]!++;
    Atomics.store(i32, HEADER_GUEST_TABLE + slot, block * 4);
    return Guest.attach(memory, slot);
  } catch (error) {
    if (error instanceof HeapFullError) {
      for (const address of runs) {
        freeHeap(memory, address);
      }
    }
    throw error;
  } finally {
    memory.unlock();
  }
}

/** Frees the heap of a guest and its slot. The entries of its NPT must be 0 by now; the mutex must be held. */
export function freeGuest(guest: Guest): void {
  const { memory } = guest;
  Atomics.store(memory.i32, HEADER_GUEST_TABLE + guest.slot, 0);
  memory.i32[HEADER_GUEST_COUNT]!--;
  for (let hart = 0; hart < guest.harts; hart++) {
    freePieces(guest, hart);
    freeHeap(memory, guest.hartArea(hart));
  }
  freeHeap(memory, guest.get(GUEST_OVERWRITES));
  freeHeap(memory, guest.nptAddress);
  freeHeap(memory, guest.block * 4);
}
