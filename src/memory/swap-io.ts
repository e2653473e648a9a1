/** Reading and writing swap slots by clusters: slots that follow each other are one operation. */

import {
  HEADER_SWAP_NAIVE,
  HEADER_SWAP_READ_PAGES,
  HEADER_SWAP_READS,
  HEADER_SWAP_WRITE_PAGES,
  HEADER_SWAP_WRITES,
  SWAP_NAIVE_CLUSTERS,
} from './layout.ts';
import type { MachineMemory } from './machine-memory.ts';
import type { SlotStore } from './swap.ts';

/** A page on its way to a slot. */
export interface SlotPage {
  slot: number;
  page: Uint8Array;
}

/** What of a number of pages could not be written. */
export interface WriteFailure {
  /** The first error. */
  error: unknown;
  /** Slots that were not written. */
  unwritten: number[];
  /** Those of them that are to blame: writing them alone failed, though there was room on the device. */
  spoilt: number[];
}

/** The most pages in one operation. */
const CLUSTER = 64;

/** Reads slots that follow each other. Throws what the store throws; then the targets hold anything. */
export function readSlots(memory: MachineMemory, store: SlotStore, slot: number, targets: readonly Uint8Array[]): void {
  store.read(slot, targets);
  Atomics.add(memory.i32, HEADER_SWAP_READS, 1);
  Atomics.add(memory.i32, HEADER_SWAP_READ_PAGES, targets.length);
}

/**
 * Writes pages to their slots. If a cluster fails, its pages are written one by one, so that one bad place costs one page;
 * when the device is full nothing more is tried.
 */
export function writeSlots(
  memory: MachineMemory,
  store: SlotStore,
  pages: readonly SlotPage[],
): WriteFailure | undefined {
  const sorted = pages.toSorted((a, b) => a.slot - b.slot);
  const most = (memory.i32[HEADER_SWAP_NAIVE]! & SWAP_NAIVE_CLUSTERS) !== 0 ? 1 : CLUSTER;
  let failure: WriteFailure | undefined;
  let full = false;
  const write = (run: readonly SlotPage[]): void => {
    try {
      if (!full) {
        store.write(
          run[0]!.slot,
          run.map(({ page }) => page),
        );
        Atomics.add(memory.i32, HEADER_SWAP_WRITES, 1);
        Atomics.add(memory.i32, HEADER_SWAP_WRITE_PAGES, run.length);
        return;
      }
    } catch (error) {
      full = isFull(error);
      if (run.length > 1 && !full) {
        for (const one of run) write([one]);
        return;
      }
      failure ??= { error, unwritten: [], spoilt: [] };
      if (!full) failure.spoilt.push(run[0]!.slot);
    }
    failure!.unwritten.push(...run.map(({ slot }) => slot));
  };
  for (let start = 0; start < sorted.length; ) {
    let end = start + 1;
    while (end < sorted.length && end - start < most && sorted[end]!.slot === sorted[end - 1]!.slot + 1) {
      end++;
    }
    write(sorted.slice(start, end));
    start = end;
  }
  return failure;
}

/** Whether a write failed because the device is full, which says nothing about the slot. */
function isFull(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOSPC';
}
