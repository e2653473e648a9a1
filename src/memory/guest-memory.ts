/**
 * Guest-physical memory as devices and firmware use it (DMA): page by page through the NPT, faulting pages in. It belongs to
 * the thread of one hart, which must not be parked; a call may flush the hart's TLBs and acknowledge shootdowns, so it must
 * not be made while a translation is in use.
 */

import { noteArrival } from './arrivals.ts';
import { discardPages } from './discard.ts';
import { GuestAddressError, MemoryError } from './errors.ts';
import type { FaultHandler } from './fault.ts';
import { frameHasCode } from './frames.ts';
import type { Guest } from './guest.ts';
import {
  GUEST_RAM_BASE,
  HEADER_SWAP_NAIVE,
  NPT_KIND_MASK,
  NPT_KIND_ZERO,
  NPT_PRESENT,
  NPT_WRITABLE,
  PAGE_SHIFT,
  PAGE_SIZE,
  SWAP_NAIVE_DMA,
} from './layout.ts';
import { COUNT_OVERWRITES } from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { hasSlot, isWritable, loadEntry, noteUse, payloadOf } from './npt.ts';
import { STORE_AGAIN, STORE_REFUSED } from './overwrite.ts';

const OFFSET_MASK = PAGE_SIZE - 1;

/** Reads and writes a guest's RAM from the thread of one of its harts. */
export class GuestMemory {
  /** Guest-physical address of the first byte. */
  readonly base = GUEST_RAM_BASE;
  /** Configured memory in bytes. */
  readonly size: number;
  /** Called after a write to a frame of which some hart holds decoded code. `offset` and `length` within the frame. */
  onWrite: ((mfn: number, offset: number, length: number) => void) | undefined;
  readonly #faults: FaultHandler;
  readonly #guest: Guest;
  readonly #memory: MachineMemory;
  readonly #u16: Uint16Array;
  /** mfn of the last translation for writing, and whether it is good for one store, which is to be noted. */
  #mfn = 0;
  #single = false;

  constructor(faults: FaultHandler) {
    this.#faults = faults;
    this.#guest = faults.guest;
    this.#memory = faults.guest.memory;
    this.#u16 = new Uint16Array(this.#memory.buffer);
    this.size = this.#guest.pages * PAGE_SIZE;
  }

  /** Whether all of the range is RAM of the guest. */
  contains(gpa: number, length: number): boolean {
    return gpa >= this.base && length >= 0 && gpa + length <= this.base + this.size;
  }

  /** Copies guest memory to `target`. Throws GuestAddressError, and reads nothing, if a byte is outside. */
  read(gpa: number, target: Uint8Array): void {
    const { u8 } = this.#memory;
    this.#demand(gpa, target.length);
    for (let done = 0; done < target.length; ) {
      const chunk = Math.min(PAGE_SIZE - ((gpa + done) & OFFSET_MASK), target.length - done);
      const address = this.#translate(gpa + done, false);
      target.set(u8.subarray(address, address + chunk), done);
      done += chunk;
      this.#faults.control.poll();
    }
  }

  /** Copies `source` to guest memory. Throws GuestAddressError, and writes nothing, if a byte is outside. */
  write(gpa: number, source: Uint8Array): void {
    const { u8 } = this.#memory;
    this.#demand(gpa, source.length);
    for (let done = 0; done < source.length; ) {
      const chunk = Math.min(PAGE_SIZE - ((gpa + done) & OFFSET_MASK), source.length - done);
      const address = this.#translateToWrite(gpa + done, chunk);
      u8.set(source.subarray(done, done + chunk), address);
      this.#written(address, chunk);
      if (chunk === PAGE_SIZE) noteArrival(this.#guest, (gpa + done - this.base) >>> PAGE_SHIFT);
      done += chunk;
      this.#faults.control.poll();
    }
  }

  /** Sets `length` bytes to `byte`. */
  fill(gpa: number, length: number, byte: number): void {
    const { u8 } = this.#memory;
    this.#demand(gpa, length);
    for (let done = 0; done < length; ) {
      const chunk = Math.min(PAGE_SIZE - ((gpa + done) & OFFSET_MASK), length - done);
      const address = this.#translateToWrite(gpa + done, chunk);
      u8.fill(byte, address, address + chunk);
      this.#written(address, chunk);
      done += chunk;
      this.#faults.control.poll();
    }
  }

  /** Reads two bytes, little-endian; in one access when aligned. */
  readU16(gpa: number): number {
    if ((gpa & 1) !== 0) {
      return this.#readBytes(gpa, 2);
    }
    this.#demand(gpa, 2);
    return Atomics.load(this.#u16, this.#translate(gpa, false) / 2);
  }

  /** Reads four bytes, little-endian, as an unsigned number; in one access when aligned. */
  readU32(gpa: number): number {
    if ((gpa & 3) !== 0) {
      return this.#readBytes(gpa, 4) >>> 0;
    }
    this.#demand(gpa, 4);
    return Atomics.load(this.#memory.i32, this.#translate(gpa, false) / 4) >>> 0;
  }

  /** Reads eight bytes, little-endian. */
  readU64(gpa: number): bigint {
    this.#demand(gpa, 8);
    return BigInt(this.readU32(gpa)) | (BigInt(this.readU32(gpa + 4)) << 32n);
  }

  /** Writes two bytes, little-endian; in one access when aligned. */
  writeU16(gpa: number, value: number): void {
    if ((gpa & 1) !== 0) {
      this.#writeBytes(gpa, 2, value);
      return;
    }
    this.#demand(gpa, 2);
    const address = this.#translateToWrite(gpa, 2);
    Atomics.store(this.#u16, address / 2, value);
    this.#written(address, 2);
  }

  /** Writes four bytes, little-endian; in one access when aligned. */
  writeU32(gpa: number, value: number): void {
    if ((gpa & 3) !== 0) {
      this.#writeBytes(gpa, 4, value);
      return;
    }
    this.#demand(gpa, 4);
    const address = this.#translateToWrite(gpa, 4);
    Atomics.store(this.#memory.i32, address / 4, value | 0);
    this.#written(address, 4);
  }

  /** Writes eight bytes, little-endian, low half first. */
  writeU64(gpa: number, value: bigint): void {
    this.#demand(gpa, 8);
    this.writeU32(gpa, Number(BigInt.asUintN(32, value)));
    this.writeU32(gpa + 4, Number(BigInt.asUintN(32, value >> 32n)));
  }

  /**
   * Gives pages back: they read as zeros afterwards. `balloon` tells under which head they are counted. Returns the number
   * of frames that the guest no longer references. Throws GuestAddressError if a page is outside of the guest's memory.
   */
  discard(gfn: number, count: number, balloon = false): number {
    return discardPages(this.#faults, gfn, count, balloon);
  }

  #demand(gpa: number, length: number): void {
    if (!this.contains(gpa, length)) {
      throw new GuestAddressError(this.#guest.name, gpa, length, this.base, this.size);
    }
    if (this.#faults.control.parked) {
      throw new MemoryError(`guest ${this.#guest.name}: its memory was accessed by a parked hart; unpark it first`);
    }
  }

  /** Byte address in the machine memory; holds until this thread polls, parks or faults. */
  #translate(gpa: number, write: boolean): number {
    const gfn = (gpa - this.base) >>> PAGE_SHIFT;
    const wanted = write ? NPT_PRESENT | NPT_WRITABLE : NPT_PRESENT;
    for (;;) {
      const entry = loadEntry(this.#guest, gfn);
      if ((entry & wanted) === wanted) {
        noteUse(this.#guest, gfn, entry, write);
        this.#mfn = payloadOf(entry);
        return this.#mfn * PAGE_SIZE + (gpa & OFFSET_MASK);
      }
      if (!write && (entry & (NPT_PRESENT | NPT_KIND_MASK)) === NPT_KIND_ZERO) {
        return this.#memory.zeroFrame * PAGE_SIZE + (gpa & OFFSET_MASK);
      }
      this.#faults.fault(gfn, write);
    }
  }

  #translateToWrite(gpa: number, length: number): number {
    const gfn = (gpa - this.base) >>> PAGE_SHIFT;
    this.#single = false;
    // What is not overwritten of a page in swap need not be there yet.
    if (length === PAGE_SIZE) this.#overwrite(gfn);
    else if (!isWritable(loadEntry(this.#guest, gfn))) {
      let address = STORE_AGAIN;
      while (address === STORE_AGAIN) address = this.#faults.store(gfn, gpa & OFFSET_MASK);
      if (address !== STORE_REFUSED) {
        this.#single = true;
        this.#mfn = address >>> PAGE_SHIFT;
        return address;
      }
    }
    return this.#translate(gpa, true);
  }

  /** A page that is overwritten whole need not be read from swap. */
  #overwrite(gfn: number): void {
    this.#faults.settleStores(gfn, 1);
    if (hasSlot(loadEntry(this.#guest, gfn)) && (this.#memory.i32[HEADER_SWAP_NAIVE]! & SWAP_NAIVE_DMA) === 0) {
      discardPages(this.#faults, gfn, 1, false);
      this.#guest.add(COUNT_OVERWRITES, 1);
    }
  }

  #written(address: number, length: number): void {
    if (this.#single) this.#faults.noteStore(length);
    if (this.onWrite !== undefined && frameHasCode(this.#memory, this.#mfn)) {
      this.onWrite(this.#mfn, address & OFFSET_MASK, length);
    }
  }

  #readBytes(gpa: number, width: number): number {
    const bytes = new Uint8Array(width);
    this.read(gpa, bytes);
    let value = 0;
    for (let i = width - 1; i >= 0; i--) {
      value = (value << 8) | bytes[i]!;
    }
    return value;
  }

  #writeBytes(gpa: number, width: number, value: number): void {
    const bytes = new Uint8Array(width);
    for (let i = 0; i < width; i++) {
      bytes[i] = value >>> (8 * i);
    }
    this.write(gpa, bytes);
  }
}
