/**
 * Swap slots. The account is a table in the VMM heap, SLOT_WORDS words for each slot:
 *
 *     word 0   references: one for each NPT entry of kind SWAP that names it, one for the frame tied to it; 0 free, -1 bad
 *     word 1   mfn of the frame tied to the slot, 0 if there is none
 *     word 2   byte address of the object of the compressed pool that holds its contents, 0 if the SlotStore does
 *
 * Behind the swap slots are slots that stand for blocks of guests' disks (disk-map.ts): word 2 is the place on the disk, and
 * word 1 of a free one is the next free one + 1. They are never shared: one entry, or one frame that one page has.
 *
 * A frame that is tied to a slot holds the same bytes as the slot (or is being filled from it), so that it can be dropped
 * without a write, and a second page in the same slot finds it without a read. Ties are the first to go when slots run out.
 * The bytes are kept by a SlotStore that is handed in; each thread has its own. All functions want the mutex to be held.
 */

import { MemoryError, SwapFullError } from './errors.ts';
import { giveFrame } from './free-list.ts';
import { allocateHeap } from './heap.ts';
import {
  FRAME_FILLING,
  FRAME_INFO,
  FRAME_KEPT,
  FRAME_REFS,
  FRAME_SLOT,
  FRAME_WORDS,
  HEADER_DISK_FREE,
  HEADER_DISK_SLOTS,
  HEADER_DISK_USED,
  HEADER_KEPT,
  HEADER_SWAP_BAD,
  HEADER_SWAP_FREE,
  HEADER_SWAP_HAND,
  HEADER_SWAP_NAIVE,
  HEADER_SWAP_SLOTS,
  HEADER_SWAP_TABLE,
  NPT_PAYLOAD_MAX,
  SWAP_NAIVE_CLUSTERS,
} from './layout.ts';
import type { MachineMemory } from './machine-memory.ts';
import { poolFree } from './pool.ts';
import { recountPool } from './pool-check.ts';
import { follow, linkTo } from './zero-list.ts';

/**
 * Where the bytes of swap slots are: a file, say. Both calls are for slots that follow each other from `slot` on, one page for
 * each, and are complete or throw. An error whose `code` is ENOSPC says that the device is full.
 */
export interface SlotStore {
  read(slot: number, targets: readonly Uint8Array[]): void;
  write(slot: number, sources: readonly Uint8Array[]): void;
}

const SLOT_WORDS = 3;
/** Bytes of the VMM heap for the account of one slot. */
export const SWAP_SLOT_BYTES = SLOT_WORDS * 4;
/** Word 0: entries that name the slot, or BAD. */
const SLOT_REFS = 0;
/**
 * Word 1: the frame that the slot is tied to, 0 if there is none. A free slot of disks: a link (zero-list.ts), the
 * slots' numbers + 1 being those of the list.
 */
const SLOT_FRAME = 1;
/** Word 2: the object of the compressed pool with the contents, 0 if there is none; of a slot of disks the place there. */
const SLOT_OBJECT = 2;
const BAD = -1;
/** Slots that are looked at for a run of free ones. */
const RUN_SEARCH = 8192;

/** Makes the table for `slots` swap slots and `diskSlots` of disks, once. Takes the mutex itself. */
export function createSwap(memory: MachineMemory, slots: number, diskSlots = 0): void {
  if (!Number.isInteger(slots) || slots < 0 || slots + diskSlots > NPT_PAYLOAD_MAX) {
    throw new MemoryError(`swap of ${slots} slots: give 0 to ${NPT_PAYLOAD_MAX} pages`);
  }
  if (slots === 0) {
    return;
  }
  const { i32 } = memory;
  memory.lock();
  try {
    if (i32[HEADER_SWAP_TABLE] !== 0) {
      throw new MemoryError('the host has swap already');
    }
    i32[HEADER_SWAP_TABLE] = allocateHeap(
      memory,
      (slots + diskSlots) * SWAP_SLOT_BYTES,
      `the account of ${slots} swap slots`,
    );
    i32[HEADER_SWAP_SLOTS] = slots;
    i32[HEADER_SWAP_FREE] = slots;
    i32[HEADER_DISK_SLOTS] = diskSlots;
    if (diskSlots > 0) {
      // All others are in the list of free ones as they are.
      i32[slotEntry(memory, slots + diskSlots - 1) + SLOT_FRAME] = linkTo(0, slots + diskSlots);
      i32[HEADER_DISK_FREE] = slots + 1;
    }
  } finally {
    memory.unlock();
  }
}

/** Takes a free slot with one reference; gives up a tie between a slot and a frame if need be. Throws SwapFullError. */
export function allocateSlot(memory: MachineMemory): number {
  const { i32 } = memory;
  const slots = i32[HEADER_SWAP_SLOTS]!;
  const table = i32[HEADER_SWAP_TABLE]! >>> 2;
  const onlyTies = i32[HEADER_SWAP_FREE] === 0;
  let slot = i32[HEADER_SWAP_HAND]!;
  for (let i = 0; i < slots; i++, slot++) {
    if (slot >= slots) {
      slot = 0;
    }
    const entry = table + slot * SLOT_WORDS;
    if (onlyTies && i32[entry + SLOT_REFS] === 1 && i32[entry + SLOT_FRAME] !== 0 && !beingFilled(memory, slot)) {
      dissociateSlot(memory, i32[entry + SLOT_FRAME]!);
    }
    if (i32[entry + SLOT_REFS] === 0) {
      i32[entry + SLOT_REFS] = 1;
      i32[HEADER_SWAP_FREE]!--;
      i32[HEADER_SWAP_HAND] = slot + 1;
      return slot;
    }
  }
  throw new SwapFullError(slots, i32[HEADER_SWAP_BAD]!);
}

/**
 * Has the next slots be taken from a run of at least `count` free ones, if there is one not too far away, so that pages that
 * leave together lie together.
 */
export function seekRun(memory: MachineMemory, count: number): void {
  const { i32 } = memory;
  const slots = i32[HEADER_SWAP_SLOTS]!;
  if (i32[HEADER_SWAP_FREE]! < count || (i32[HEADER_SWAP_NAIVE]! & SWAP_NAIVE_CLUSTERS) !== 0) {
    return;
  }
  let run = 0;
  const start = i32[HEADER_SWAP_HAND]!;
  for (let i = 0; i < Math.min(slots, RUN_SEARCH); i++) {
    const slot = (start + i) % slots;
    if (slot === 0) {
      run = 0;
    }
    run = slotReferences(memory, slot) === 0 ? run + 1 : 0;
    if (run === count) {
      i32[HEADER_SWAP_HAND] = slot - count + 1;
      return;
    }
  }
}

/** Whether allocateSlot would find one; ties that could be given up are not counted. */
export function freeSlots(memory: MachineMemory): number {
  return memory.i32[HEADER_SWAP_FREE]!;
}

/** Number of references of a slot, -1 for a bad one. */
export function slotReferences(memory: MachineMemory, slot: number): number {
  return memory.i32[slotEntry(memory, slot) + SLOT_REFS]!;
}

/** The frame tied to a slot, or 0. */
export function slotFrame(memory: MachineMemory, slot: number): number {
  return memory.i32[slotEntry(memory, slot) + SLOT_FRAME]!;
}

/** Adds a reference to a slot in use. */
export function referenceSlot(memory: MachineMemory, slot: number): void {
  const entry = slotEntry(memory, slot) + SLOT_REFS;
  if (memory.i32[entry]! <= 0) {
    throw new MemoryError(`swap slot ${slot} is not in use and can't be referenced`);
  }
  memory.i32[entry]!++;
}

/** Drops a reference of a slot; the last one frees it. */
export function releaseSlot(memory: MachineMemory, slot: number): void {
  const entry = slotEntry(memory, slot) + SLOT_REFS;
  const references = memory.i32[entry]!;
  if (references <= 0) {
    throw new MemoryError(`swap slot ${slot} is not in use and can't be released`);
  }
  memory.i32[entry] = references - 1;
  if (references === 1 && isDiskSlot(memory, slot)) {
    freeDiskSlot(memory, slot);
  } else if (references === 1) {
    dropObject(memory, slot);
    memory.i32[HEADER_SWAP_FREE]!++;
  } else if (references === 2) {
    const mfn = slotFrame(memory, slot);
    if (mfn !== 0 && (memory.i32[memory.frameTable + mfn * FRAME_WORDS + FRAME_INFO]! & FRAME_KEPT) !== 0) {
      dropKept(memory, mfn);
    } else if (mfn !== 0 && slotObject(memory, slot) !== 0) {
      // The frame alone needs no compressed page beside it.
      dissociateSlot(memory, mfn);
    }
  }
}

/** Gives up all frames that are kept, when frames are short. */
export function dropAllKept(memory: MachineMemory): void {
  const { i32 } = memory;
  for (let mfn = memory.firstFrame; i32[HEADER_KEPT]! > 0 && mfn < memory.machineFrames; mfn++) {
    if ((i32[memory.frameTable + mfn * FRAME_WORDS + FRAME_INFO]! & FRAME_KEPT) !== 0) {
      dropKept(memory, mfn);
    }
  }
}

/** Address of the object of the compressed pool that holds a slot's contents, 0 if the SlotStore does. */
export function slotObject(memory: MachineMemory, slot: number): number {
  return isDiskSlot(memory, slot) ? 0 : memory.i32[slotEntry(memory, slot) + SLOT_OBJECT]! >>> 0;
}

/** Whether a slot stands for a block of a disk. */
export function isDiskSlot(memory: MachineMemory, slot: number): boolean {
  return slot >= memory.i32[HEADER_SWAP_SLOTS]!;
}

/** Takes a slot for a place on a disk, with one reference; -1 if there is none. */
export function allocateDiskSlot(memory: MachineMemory, place: number): number {
  const { i32 } = memory;
  const slot = i32[HEADER_DISK_FREE]! - 1;
  if (slot < 0) {
    return -1;
  }
  const entry = slotEntry(memory, slot);
  i32[HEADER_DISK_FREE] = follow(i32[entry + SLOT_FRAME]!, slot + 1);
  i32[HEADER_DISK_USED]!++;
  i32[entry + SLOT_REFS] = 1;
  i32[entry + SLOT_FRAME] = 0;
  i32[entry + SLOT_OBJECT] = place;
  return slot;
}

/** The place on a disk that a slot in use stands for. */
export function diskPlace(memory: MachineMemory, slot: number): number {
  return memory.i32[slotEntry(memory, slot) + SLOT_OBJECT]! >>> 0;
}

function freeDiskSlot(memory: MachineMemory, slot: number): void {
  const { i32 } = memory;
  const entry = slotEntry(memory, slot);
  i32[entry + SLOT_REFS] = 0;
  i32[entry + SLOT_FRAME] = linkTo(i32[HEADER_DISK_FREE]!, slot + 1);
  i32[HEADER_DISK_FREE] = slot + 1;
  i32[HEADER_DISK_USED]!--;
}

/** All slots, those of disks included. */
export function allSlots({ i32 }: MachineMemory): number {
  return i32[HEADER_SWAP_SLOTS]! + i32[HEADER_DISK_SLOTS]!;
}

/** The contents of a slot are in an object of the compressed pool now. */
export function placeInPool(memory: MachineMemory, slot: number, address: number): void {
  memory.i32[slotEntry(memory, slot) + SLOT_OBJECT] = address;
}

/** The contents of a slot are where the SlotStore has them, or nowhere, and no longer in the compressed pool. */
export function dropObject(memory: MachineMemory, slot: number): void {
  const address = slotObject(memory, slot);
  if (address !== 0) {
    memory.i32[slotEntry(memory, slot) + SLOT_OBJECT] = 0;
    poolFree(memory, address);
  }
}

/**
 * A page has let go of a frame that it was the last to reference. If other pages still are in the slot that the frame is
 * tied to, it is kept for them, as FRAME_KEPT, so that the slot is read once. Returns whether it was.
 */
export function keepFrame(memory: MachineMemory, mfn: number): boolean {
  const { i32 } = memory;
  const entry = memory.frameTable + mfn * FRAME_WORDS;
  const slot = i32[entry + FRAME_SLOT]! - 1;
  if (slot < 0 || i32[entry + FRAME_REFS] !== 1 || slotReferences(memory, slot) < 2 || slotObject(memory, slot) !== 0) {
    return false;
  }
  Atomics.or(i32, entry + FRAME_INFO, FRAME_KEPT);
  i32[HEADER_KEPT]!++;
  return true;
}

/** An entry takes over the reference by which a frame was kept. */
export function takeKept(memory: MachineMemory, mfn: number): void {
  Atomics.and(memory.i32, memory.frameTable + mfn * FRAME_WORDS + FRAME_INFO, ~FRAME_KEPT);
  memory.i32[HEADER_KEPT]!--;
}

/** A frame is kept no longer, and freed unless pages have been merged into it meanwhile. */
function dropKept(memory: MachineMemory, mfn: number): void {
  takeKept(memory, mfn);
  if (--memory.i32[memory.frameTable + mfn * FRAME_WORDS + FRAME_REFS]! === 0) {
    dissociateSlot(memory, mfn);
    giveFrame(memory, mfn);
  }
}

/** Gives up a slot that was just allocated and could not be written. */
export function spoilSlot(memory: MachineMemory, slot: number): void {
  memory.i32[slotEntry(memory, slot) + SLOT_REFS] = BAD;
  memory.i32[HEADER_SWAP_BAD]!++;
}

/** Ties a frame to a slot. The tie takes over a reference that the caller has. */
export function associateSlot(memory: MachineMemory, mfn: number, slot: number): void {
  memory.i32[slotEntry(memory, slot) + SLOT_FRAME] = mfn;
  memory.i32[memory.frameTable + mfn * FRAME_WORDS + FRAME_SLOT] = slot + 1;
}

/** Undoes the tie of a frame, and drops its reference to the slot. */
export function dissociateSlot(memory: MachineMemory, mfn: number): void {
  const entry = memory.frameTable + mfn * FRAME_WORDS + FRAME_SLOT;
  const slot = memory.i32[entry]! - 1;
  memory.i32[entry] = 0;
  memory.i32[slotEntry(memory, slot) + SLOT_FRAME] = 0;
  releaseSlot(memory, slot);
}

/** Slot tied to a frame, or -1. */
export function frameSlot(memory: MachineMemory, mfn: number): number {
  return memory.i32[memory.frameTable + mfn * FRAME_WORDS + FRAME_SLOT]! - 1;
}

/**
 * Sets the counts of all slots, for repair: `references` by entries, and the ties that frames still have. Returns the frames
 * of the compressed pool that are in use.
 */
export function recountSlots(memory: MachineMemory, references: ReadonlyMap<number, number>): Set<number> {
  const { i32 } = memory;
  let free = 0;
  for (let slot = 0; slot < allSlots(memory); slot++) {
    const entry = slotEntry(memory, slot);
    if (i32[entry + SLOT_REFS] === BAD) {
      continue;
    }
    i32[entry + SLOT_REFS] = references.get(slot) ?? 0;
    i32[entry + SLOT_FRAME] = 0;
  }
  for (let mfn = memory.firstFrame; mfn < memory.machineFrames; mfn++) {
    const slot = frameSlot(memory, mfn);
    if (slot >= 0) {
      i32[slotEntry(memory, slot) + SLOT_FRAME] = mfn;
      i32[slotEntry(memory, slot) + SLOT_REFS]!++;
    }
  }
  const objects: number[] = [];
  for (let slot = 0; slot < i32[HEADER_SWAP_SLOTS]!; slot++) {
    const entry = slotEntry(memory, slot);
    if (i32[entry + SLOT_REFS] === 0) {
      i32[entry + SLOT_OBJECT] = 0;
      free++;
    } else if (i32[entry + SLOT_OBJECT] !== 0) {
      objects.push(slotObject(memory, slot));
    }
  }
  i32[HEADER_SWAP_FREE] = free;
  i32[HEADER_DISK_FREE] = 0;
  i32[HEADER_DISK_USED] = i32[HEADER_DISK_SLOTS]!;
  for (let slot = allSlots(memory) - 1; slot >= i32[HEADER_SWAP_SLOTS]!; slot--) {
    if (i32[slotEntry(memory, slot) + SLOT_REFS] === 0) {
      freeDiskSlot(memory, slot);
    }
  }
  return recountPool(memory, objects);
}

/** Whether the frame tied to the slot is still being read from it. */
function beingFilled(memory: MachineMemory, slot: number): boolean {
  const mfn = slotFrame(memory, slot);
  return (Atomics.load(memory.i32, memory.frameTable + mfn * FRAME_WORDS + FRAME_INFO) & FRAME_FILLING) !== 0;
}

function slotEntry(memory: MachineMemory, slot: number): number {
  return (memory.i32[HEADER_SWAP_TABLE]! >>> 2) + slot * SLOT_WORDS;
}
