/**
 * Machine frames: reference counts without a limit, generations, flags; free ones are in a list (free-list.ts). All functions want
 * the host mutex to be held; only the CODE flag and the free count are read or changed without it.
 */

import { MemoryError } from './errors.ts';
import { giveFrame, takeFrame } from './free-list.ts';
import {
  FRAME_CODE,
  FRAME_GENERATION_SHIFT,
  FRAME_INFO,
  FRAME_LINK,
  FRAME_REFS,
  FRAME_SLOT,
  FRAME_WORDS,
  PAGE_SIZE,
} from './layout.ts';
import type { MachineMemory } from './machine-memory.ts';
import { dissociateSlot, isDiskSlot } from './swap.ts';

const PAGE_F64 = PAGE_SIZE / 8;

/**
 * Takes a frame with one reference and no flags; its contents are whatever they were. Returns 0 when none is free, or when
 * only the reserve is left and `privileged` is false.
 */
export function allocateFrame(memory: MachineMemory, privileged = false): number {
  return takeFrame(memory, privileged);
}

/** Adds a reference to an allocated frame. */
export function referenceFrame(memory: MachineMemory, mfn: number): void {
  const entry = memory.frameTable + mfn * FRAME_WORDS;
  const references = memory.i32[entry + FRAME_REFS]!;
  if (references <= 0) {
    throw new MemoryError(`frame ${mfn} is free and can't be referenced`);
  }
  memory.i32[entry + FRAME_REFS] = references + 1;
  const slot = memory.i32[entry + FRAME_SLOT]! - 1;
  if (slot >= 0 && isDiskSlot(memory, slot)) {
    // One page has its contents on its guest's disk; others can't read that.
    dissociateSlot(memory, mfn);
  }
}

/**
 * Drops a reference; the last one frees the frame (and its tie to a swap slot). The caller makes sure that no TLB maps it
 * for the reference that goes, and calls `progress` once the mutex is free. Returns whether the frame became free.
 */
export function releaseFrame(memory: MachineMemory, mfn: number): boolean {
  const { i32 } = memory;
  const entry = memory.frameTable + mfn * FRAME_WORDS;
  const references = i32[entry + FRAME_REFS]!;
  if (references <= 0) {
    throw new MemoryError(`frame ${mfn} is free already`);
  }
  i32[entry + FRAME_REFS] = references - 1;
  if (references > 1) {
    return false;
  }
  if (i32[entry + FRAME_SLOT] !== 0) {
    dissociateSlot(memory, mfn);
  }
  giveFrame(memory, mfn);
  return true;
}

/** Number of references of a frame, 0 when it is free. */
export function frameReferences(memory: MachineMemory, mfn: number): number {
  return memory.i32[memory.frameTable + mfn * FRAME_WORDS + FRAME_REFS]!;
}

/** Whether a FRAME_* flag is set. */
export function frameFlag(memory: MachineMemory, mfn: number, flag: number): boolean {
  return (Atomics.load(memory.i32, memory.frameTable + mfn * FRAME_WORDS + FRAME_INFO) & flag) !== 0;
}

/** Sets a FRAME_* flag. */
export function setFrameFlag(memory: MachineMemory, mfn: number, flag: number): void {
  Atomics.or(memory.i32, memory.frameTable + mfn * FRAME_WORDS + FRAME_INFO, flag);
}

/** Clears a FRAME_* flag. */
export function clearFrameFlag(memory: MachineMemory, mfn: number, flag: number): void {
  Atomics.and(memory.i32, memory.frameTable + mfn * FRAME_WORDS + FRAME_INFO, ~flag);
}

/** Generation of a frame: another one means another use of it. */
export function frameGeneration(memory: MachineMemory, mfn: number): number {
  return Atomics.load(memory.i32, memory.frameTable + mfn * FRAME_WORDS + FRAME_INFO) >>> FRAME_GENERATION_SHIFT;
}

/** Notes that a frame that is coming is a copy of `old`, to which its entry keeps a reference; 0: no longer. */
export function noteOrigin(memory: MachineMemory, mfn: number, old: number): void {
  memory.i32[memory.frameTable + mfn * FRAME_WORDS + FRAME_LINK] = old;
}

/** What noteOrigin has noted, for an allocated frame. */
export function originOf(memory: MachineMemory, mfn: number): number {
  return memory.i32[memory.frameTable + mfn * FRAME_WORDS + FRAME_LINK]!;
}

/** Whether some hart holds decoded code of the frame. */
export function frameHasCode(memory: MachineMemory, mfn: number): boolean {
  return frameFlag(memory, mfn, FRAME_CODE);
}

/** Fills a frame with zeros. */
export function clearFrame(memory: MachineMemory, mfn: number): void {
  memory.f64.fill(0, mfn * PAGE_F64, (mfn + 1) * PAGE_F64);
}

/** Copies a frame. */
export function copyFrame(memory: MachineMemory, from: number, to: number): void {
  memory.u8.copyWithin(to * PAGE_SIZE, from * PAGE_SIZE, (from + 1) * PAGE_SIZE);
}
