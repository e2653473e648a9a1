/**
 * The invariants of the memory: every frame's references are exactly the NPT entries that name it, every slot's likewise,
 * the free list is exact, each gfn has one truth, no page is writable for two.
 */

import { guestSlots } from './account.ts';
import { InvariantError } from './errors.ts';
import { frameFlag } from './frames.ts';
import { nextFree } from './free-list.ts';
import { Guest } from './guest.ts';
import { zeroPage } from './hash.ts';
import { checkHeap } from './heap.ts';
import {
  FRAME_FILLING,
  FRAME_INFO,
  FRAME_KEPT,
  FRAME_LINK,
  FRAME_POOL,
  FRAME_REFS,
  FRAME_SHARED,
  FRAME_SLOT,
  FRAME_WORDS,
  HEADER_DISK_USED,
  HEADER_FREE_COUNT,
  HEADER_FREE_HEAD,
  HEADER_GUEST_COUNT,
  HEADER_KEPT,
  HEADER_MAPPED,
  HEADER_SWAP_BAD,
  HEADER_SWAP_FREE,
  NPT_KIND_ZERO,
  PAGE_WORDS,
} from './layout.ts';
import { COUNT_MERGED, COUNT_RESIDENT, COUNT_SWAPPED } from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { hasFrame, hasSlot, isComing, isMerged, isWritable, kindOf, payloadOf } from './npt.ts';
import { overwrittenPages } from './overwrite.ts';
import { poolAccount } from './pool.ts';
import { checkPool } from './pool-check.ts';
import { allSlots, isDiskSlot, slotFrame, slotObject, slotReferences } from './swap.ts';

/** What the entries of all guests add up to. */
interface Tally {
  /** References of each frame, and how many of them may write. */
  references: Int32Array;
  writers: Int32Array;
  slots: Int32Array;
  mapped: number;
}

/**
 * Throws InvariantError if anything is wrong. Takes the mutex for some milliseconds; call it between ticks. `held` are
 * frames that the memory manager has a reference to.
 */
export function checkMemory(memory: MachineMemory, held: readonly number[] = []): void {
  const findings: string[] = [];
  memory.lock();
  try {
    const tally: Tally = {
      references: new Int32Array(memory.machineFrames),
      writers: new Int32Array(memory.machineFrames),
      slots: new Int32Array(allSlots(memory)),
      mapped: 0,
    };
    for (const mfn of held) {
      tally.references[mfn]!++;
    }
    const slots = guestSlots(memory);
    for (const slot of slots) {
      checkGuest(Guest.attach(memory, slot), tally, findings);
    }
    expect(findings, 'number of guests', memory.i32[HEADER_GUEST_COUNT]!, slots.length);
    expect(findings, 'pages with a frame', memory.i32[HEADER_MAPPED]!, tally.mapped);
    checkFrames(memory, tally, findings);
    checkSlots(memory, tally, findings);
    findings.push(...checkHeap(memory));
  } finally {
    memory.unlock();
  }
  if (findings.length > 0) {
    throw new InvariantError(findings);
  }
}

function checkGuest(guest: Guest, tally: Tally, findings: string[]): void {
  const { memory } = guest;
  let resident = 0;
  let merged = 0;
  let swapped = 0;
  for (let gfn = 0; gfn < guest.pages; gfn++) {
    const entry = memory.i32[guest.npt + gfn]!;
    const where = `page ${gfn} of guest ${guest.name}`;
    const payload = payloadOf(entry);
    if (hasFrame(entry)) {
      resident++;
      if (payload < memory.firstFrame || payload >= memory.machineFrames) {
        findings.push(`${where} names frame ${payload}, which no guest can have`);
        continue;
      }
      tally.references[payload]!++;
      if (isWritable(entry)) {
        tally.writers[payload]!++;
      }
      const origin = memory.i32[memory.frameTable + payload * FRAME_WORDS + FRAME_LINK]!;
      if (origin !== 0 && isComing(entry)) {
        tally.references[origin]!++;
      }
    } else if (hasSlot(entry)) {
      swapped++;
      if (payload >= tally.slots.length) {
        findings.push(`${where} names swap slot ${payload}, of which there are ${tally.slots.length}`);
        continue;
      }
      tally.slots[payload]!++;
    } else if (kindOf(entry) !== NPT_KIND_ZERO || payload !== 0) {
      findings.push(`${where} has the entry 0x${(entry >>> 0).toString(16)}, which means nothing`);
    }
    merged += isMerged(entry) ? 1 : 0;
  }
  for (const { gfn, frame } of overwrittenPages(guest)) {
    const entry = memory.i32[guest.npt + gfn]!;
    if (!isComing(entry) || payloadOf(entry) !== frame || !frameFlag(memory, frame, FRAME_FILLING)) {
      findings.push(`page ${gfn} of guest ${guest.name} is said to be overwritten in frame ${frame}, and is not`);
    }
  }
  tally.mapped += resident;
  expect(findings, `resident pages of guest ${guest.name}`, guest.get(COUNT_RESIDENT), resident);
  expect(findings, `merged pages of guest ${guest.name}`, guest.get(COUNT_MERGED), merged);
  expect(findings, `swapped pages of guest ${guest.name}`, guest.get(COUNT_SWAPPED), swapped);
}

function checkFrames(memory: MachineMemory, tally: Tally, findings: string[]): void {
  const { i32 } = memory;
  const free = new Uint8Array(memory.machineFrames);
  let length = 0;
  let kept = 0;
  let pooled = 0;
  for (let mfn = i32[HEADER_FREE_HEAD]!; mfn !== 0; mfn = nextFree(memory, mfn)) {
    if (mfn < memory.firstFrame || mfn >= memory.machineFrames || free[mfn] !== 0) {
      findings.push(`the free list comes to frame ${mfn} ${free[mfn] !== 0 ? 'twice' : 'that no guest can have'}`);
      break;
    }
    free[mfn] = 1;
    length++;
  }
  expect(findings, 'free frames', i32[HEADER_FREE_COUNT]!, length);
  for (let mfn = memory.firstFrame; mfn < memory.machineFrames; mfn++) {
    const entry = memory.frameTable + mfn * FRAME_WORDS;
    const references = i32[entry + FRAME_REFS]!;
    const flags = i32[entry + FRAME_INFO]!;
    // The compressed pool has a reference to each of its frames, and so has the slot for which a frame is kept.
    const others = (flags & (FRAME_POOL | FRAME_KEPT)) !== 0 ? 1 : 0;
    expect(findings, `references of frame ${mfn}`, references, tally.references[mfn]! + others);
    if ((references === 0) !== (free[mfn] === 1)) {
      findings.push(
        `frame ${mfn} has ${references} references and is ${free[mfn] === 1 ? '' : 'not '}in the free list`,
      );
    }
    if (
      tally.writers[mfn]! > 0 &&
      (references !== 1 || (flags & FRAME_SHARED) !== 0 || i32[entry + FRAME_SLOT] !== 0)
    ) {
      findings.push(`frame ${mfn} is writable, though shared or tied to a swap slot (${references} references)`);
    }
    kept += (flags & FRAME_KEPT) !== 0 ? 1 : 0;
    pooled += (flags & FRAME_POOL) !== 0 ? 1 : 0;
    const slot = i32[entry + FRAME_SLOT]! - 1;
    if ((flags & FRAME_KEPT) !== 0 && (slot < 0 || slotReferences(memory, slot) < 2)) {
      findings.push(`frame ${mfn} is kept for pages in swap, and there are none`);
    }
    if (slot >= 0) {
      if (references === 0 || slot >= tally.slots.length || slotFrame(memory, slot) !== mfn) {
        findings.push(`frame ${mfn} is tied to swap slot ${slot}, but not the other way round`);
      } else {
        tally.slots[slot]!++;
      }
    } else if ((flags & FRAME_FILLING) !== 0) {
      findings.push(`frame ${mfn} is being filled from nowhere`);
    }
  }
  expect(findings, 'kept frames', i32[HEADER_KEPT]!, kept);
  expect(findings, 'frames of the compressed pool', poolAccount(memory).frames, pooled);
  if (!zeroPage(i32, memory.zeroFrame * PAGE_WORDS)) {
    findings.push('the zero frame is not all zeros');
  }
}

function checkSlots(memory: MachineMemory, tally: Tally, findings: string[]): void {
  let free = 0;
  let bad = 0;
  let disk = 0;
  const objects = new Map<number, number>();
  for (let slot = 0; slot < tally.slots.length; slot++) {
    const references = slotReferences(memory, slot);
    if (references < 0) {
      bad++;
      expect(findings, `references of the bad swap slot ${slot}`, 0, tally.slots[slot]!);
      continue;
    }
    expect(findings, `references of swap slot ${slot}`, references, tally.slots[slot]!);
    if (isDiskSlot(memory, slot)) {
      if (references > 1) {
        findings.push(`slot ${slot} of a disk has ${references} references`);
      }
      if (references === 0) {
        continue;
      }
      disk++;
    } else {
      free += references === 0 ? 1 : 0;
    }
    const object = slotObject(memory, slot);
    if (object !== 0) {
      objects.set(object, slot);
      if (references === 0) {
        findings.push(`swap slot ${slot} is free, and has an object in the compressed pool`);
      }
    }
    const mfn = slotFrame(memory, slot);
    if (mfn !== 0 && memory.i32[memory.frameTable + mfn * FRAME_WORDS + FRAME_SLOT] !== slot + 1) {
      findings.push(`swap slot ${slot} is tied to frame ${mfn}, but not the other way round`);
    }
  }
  findings.push(...checkPool(memory, objects));
  expect(findings, 'free swap slots', memory.i32[HEADER_SWAP_FREE]!, free);
  expect(findings, 'slots of disks', memory.i32[HEADER_DISK_USED]!, disk);
  expect(findings, 'bad swap slots', memory.i32[HEADER_SWAP_BAD]!, bad);
}

function expect(findings: string[], what: string, counted: number, found: number): void {
  if (counted !== found) {
    findings.push(`${what}: the count says ${counted}, there are ${found}`);
  }
}
