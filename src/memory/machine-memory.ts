/**
 * One thread's view of the machine memory: typed arrays over the shared buffer and where its parts begin. Every thread that
 * touches guests' memory (hart workers, memory manager, host) makes its own view.
 */

import { MemoryError } from './errors.ts';
import {
  FRAME_BYTES,
  FRAME_LINK,
  FRAME_WORDS,
  HEADER_FIRST_FRAME,
  HEADER_FRAME_TABLE,
  HEADER_FREE_COUNT,
  HEADER_FREE_HEAD,
  HEADER_HEAP_BASE,
  HEADER_HEAP_FREE,
  HEADER_HEAP_PAGES,
  HEADER_MACHINE_FRAMES,
  HEADER_MAGIC,
  HEADER_MANAGER_WAKE,
  HEADER_MUTEX,
  HEADER_PROGRESS,
  HEADER_RESERVE,
  HEADER_WAITING,
  HEADER_ZERO_FRAME,
  LOCK_OWNER_HOST,
  MAGIC,
  PAGE_SIZE,
} from './layout.ts';
import { lockMutex, unlockMutex } from './lock.ts';
import { linkTo } from './zero-list.ts';

/** What formatting can be told. */
export interface FormatOptions {
  /** Bytes for the VMM heap; by default 1/16 of the memory, at least 8 MiB. */
  heapBytes?: number;
  /** Free frames that only the memory manager may take; by default 1/512 of the frames, at least 4. */
  reserveFrames?: number;
}

/** Smallest heap unless told otherwise, bytes. */
const MIN_HEAP_BYTES = 8 * 1024 * 1024;
/** Largest machine memory, bytes. */
const MAX_BYTES = 2 ** 32;

/** A thread's view of the machine memory. */
export class MachineMemory {
  readonly buffer: SharedArrayBuffer;
  /** Every byte. */
  readonly u8: Uint8Array<SharedArrayBuffer>;
  /** Every word; this view is the one that Atomics work on. */
  readonly i32: Int32Array<SharedArrayBuffer>;
  /** Every eight bytes: for clearing and copying pages quickly. */
  readonly f64: Float64Array<SharedArrayBuffer>;
  /** Frames of the whole memory. */
  readonly machineFrames: number;
  /** Word position of the frame table. */
  readonly frameTable: number;
  /** Byte address and size of the VMM heap. */
  readonly heapBase: number;
  readonly heapPages: number;
  /** mfn of the zero frame. */
  readonly zeroFrame: number;
  /** First mfn that can be allocated. */
  readonly firstFrame: number;
  /** Token of this thread in the mutex: guest slot + 1, LOCK_OWNER_MANAGER or LOCK_OWNER_HOST. */
  owner: number;

  private constructor(buffer: SharedArrayBuffer, owner: number) {
    this.buffer = buffer;
    this.u8 = new Uint8Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.f64 = new Float64Array(buffer);
    const header = this.i32;
    if (header[HEADER_MAGIC] !== MAGIC) {
      throw new MemoryError(
        'the machine memory is not formatted; the host formats it once, before any thread attaches',
      );
    }
    this.machineFrames = header[HEADER_MACHINE_FRAMES]!;
    this.frameTable = header[HEADER_FRAME_TABLE]! >>> 2;
    this.heapBase = header[HEADER_HEAP_BASE]! >>> 0;
    this.heapPages = header[HEADER_HEAP_PAGES]!;
    this.zeroFrame = header[HEADER_ZERO_FRAME]!;
    this.firstFrame = header[HEADER_FIRST_FRAME]!;
    this.owner = owner;
  }

  /** Lays out an unused (all zero) memory, once, and returns a view of it. */
  static format(buffer: SharedArrayBuffer, options: FormatOptions = {}): MachineMemory {
    const size = buffer.byteLength;
    if (size % PAGE_SIZE !== 0 || size > MAX_BYTES) {
      throw new MemoryError(`machine memory of ${size} bytes: give a multiple of ${PAGE_SIZE} up to ${MAX_BYTES}`);
    }
    const i32 = new Int32Array(buffer);
    if (i32[HEADER_MAGIC] === MAGIC) {
      throw new MemoryError('the machine memory is formatted already');
    }
    const frames = size / PAGE_SIZE;
    const tablePages = Math.ceil((frames * FRAME_BYTES) / PAGE_SIZE);
    const heapBytes = options.heapBytes ?? Math.max(MIN_HEAP_BYTES, Math.floor(size / 16));
    const heapPages = Math.ceil(heapBytes / PAGE_SIZE);
    const heapPage = 1 + tablePages;
    const zeroFrame = heapPage + heapPages;
    if (zeroFrame + 2 > frames) {
      throw new MemoryError(
        `machine memory of ${size} bytes leaves no frame beside ${heapPages * PAGE_SIZE} bytes of VMM heap; give more`,
      );
    }
    const first = zeroFrame + 1;
    i32[HEADER_MACHINE_FRAMES] = frames;
    i32[HEADER_FRAME_TABLE] = PAGE_SIZE;
    i32[HEADER_HEAP_BASE] = heapPage * PAGE_SIZE;
    i32[HEADER_HEAP_PAGES] = heapPages;
    i32[HEADER_HEAP_FREE] = heapPages;
    i32[HEADER_ZERO_FRAME] = zeroFrame;
    i32[HEADER_FIRST_FRAME] = first;
    i32[HEADER_RESERVE] = options.reserveFrames ?? Math.max(4, Math.floor(frames / 512));
    // All others are in the list as they are.
    i32[PAGE_SIZE / 4 + (frames - 1) * FRAME_WORDS + FRAME_LINK] = linkTo(0, frames - 1);
    i32[HEADER_FREE_HEAD] = first;
    i32[HEADER_FREE_COUNT] = frames - first;
    Atomics.store(i32, HEADER_MAGIC, MAGIC);
    return new MachineMemory(buffer, LOCK_OWNER_HOST);
  }

  /** A view of a memory that was formatted. `owner`: see the field. */
  static attach(buffer: SharedArrayBuffer, owner: number): MachineMemory {
    return new MachineMemory(buffer, owner);
  }

  /** Number of frames that guests can have in all. */
  get guestFrames(): number {
    return this.machineFrames - this.firstFrame;
  }

  /** Number of free frames now. */
  get freeFrames(): number {
    return Atomics.load(this.i32, HEADER_FREE_COUNT);
  }

  /** The bytes of a frame. */
  page(mfn: number): Uint8Array<SharedArrayBuffer> {
    return this.u8.subarray(mfn * PAGE_SIZE, mfn * PAGE_SIZE + PAGE_SIZE);
  }

  /** Takes the host mutex. Not recursive. */
  lock(): void {
    lockMutex(this.i32, HEADER_MUTEX, this.owner);
  }

  /** Gives the host mutex back. */
  unlock(): void {
    unlockMutex(this.i32, HEADER_MUTEX);
  }

  /** Wakes the harts that wait for a frame or for a page in transit, so that they look again. */
  progress(): void {
    if (Atomics.load(this.i32, HEADER_WAITING) > 0) {
      Atomics.add(this.i32, HEADER_PROGRESS, 1);
      Atomics.notify(this.i32, HEADER_PROGRESS);
    }
  }

  /** Wakes the memory manager. */
  wakeManager(): void {
    Atomics.add(this.i32, HEADER_MANAGER_WAKE, 1);
    Atomics.notify(this.i32, HEADER_MANAGER_WAKE);
  }
}
