import { EFFECTS } from './effects.ts';
import { decodeBits, instructionLength, OUTSIDE, type Region, type RegionBlock } from './region.ts';

/** Instructions of a region, of a function that is taken into it, and calls into each other. */
const MOST_INSTRUCTIONS = 220;
const MOST_INLINED = 48;
const MOST_CALL_DEPTH = 4;
/** Instructions of a function that an indirect jump has led to, and bytes to what is no other function: a case of a switch. */
const MOST_GUESSED = 24;
const NEAR = 4096;

/**
 * The instruction at an offset from the entry: its bits; undefined if it has never been executed, or can't be seen from
 * here.
 */
export type CodeReader = (offset: number) => number | undefined;

/** Offsets that the indirect jump at an offset has led to lately, the most frequent first. */
export type TargetReader = (offset: number) => readonly number[];

/** A call that was taken into the region: the code of the function is there once for each of them. */
interface Frame {
  readonly caller: Frame | undefined;
  /** Offset of the function called, and of the instruction behind the call. */
  readonly entry: number;
  readonly returnOffset: number;
  readonly depth: number;
  /** Offsets of instructions that are in the region, and of those that begin a block. */
  readonly seen: Set<number>;
  readonly leaders: Set<number>;
}

interface Place {
  readonly frame: Frame;
  readonly offset: number;
}

/** Where an instruction leads; offsets from the entry. */
interface Successors {
  /** The instruction; 0 if it can't be part of a region. */
  readonly bits: number;
  readonly kind: 'next' | 'branch' | 'jump' | 'call' | 'indirect' | 'indirect call' | 'return' | 'stop';
  readonly target: number;
  readonly next: number;
}

/** A region, and where in it a loop of its own turns, inlined functions aside: there a poll may leave it. */
export interface FoundRegion extends Region {
  /** Offsets from the entry that a jump leads back to; not 0. */
  readonly turns: readonly number[];
}

/**
 * Finds the code that belongs to a hot place: what has been executed of the function around it, from there on, with
 * small functions that it calls. Undefined if the first instruction is already one for the interpreter.
 */
export function discover(read: CodeReader, targetsOf: TargetReader = () => []): FoundRegion | undefined {
  const root = newFrame(undefined, 0, OUTSIDE);
  const walk = new Walk(read, targetsOf);
  walk.from({ frame: root, offset: 0 });
  return walk.count === 0 ? undefined : { blocks: walk.blocks(root), straddles: false, turns: walk.turns(root) };
}

function newFrame(caller: Frame | undefined, entry: number, returnOffset: number): Frame {
  const depth = caller === undefined ? 0 : caller.depth + 1;
  return { caller, entry, returnOffset, depth, seen: new Set(), leaders: new Set() };
}

class Walk {
  count = 0;
  readonly #turns = new Set<number>();
  readonly #reader: CodeReader;
  /** Blocks to look at; those of calls come when all else has been seen. */
  readonly #queue: Place[] = [];
  readonly #calls: Place[] = [];
  readonly #frames: Frame[] = [];
  /** Frames by call: caller's place of the call instruction. */
  readonly #inlined = new Map<Frame, Map<number, Frame[]>>();
  readonly #targetsOf: TargetReader;
  /** What has been read, by offset. */
  readonly #read = new Map<number, Successors>();

  constructor(read: CodeReader, targetsOf: TargetReader) {
    this.#reader = read;
    this.#targetsOf = targetsOf;
  }

  from(start: Place): void {
    this.#frames.push(start.frame);
    this.#enqueue(start);
    for (;;) {
      const place = this.#queue.shift() ?? this.#calls.shift();
      if (place === undefined || this.count >= MOST_INSTRUCTIONS) return;
      this.#scan(place);
    }
  }

  #at(offset: number): Successors {
    let read = this.#read.get(offset);
    if (read === undefined) {
      read = successors(this.#reader(offset), offset);
      this.#read.set(offset, read);
    }
    return read;
  }

  #enqueue(place: Place): void {
    place.frame.leaders.add(place.offset);
    this.#queue.push(place);
  }

  /** Follows instructions from the start of a block to its end. */
  #scan({ frame, offset: start }: Place): void {
    for (let offset = start; this.count < MOST_INSTRUCTIONS; ) {
      if (frame.seen.has(offset)) {
        frame.leaders.add(offset);
        return;
      }
      const s = this.#at(offset);
      if (s.kind === 'stop') return;
      frame.seen.add(offset);
      this.count++;
      if (frame.caller === undefined) this.#noteTurn(s, offset);
      switch (s.kind) {
        case 'next':
          offset = s.next;
          continue;
        case 'branch':
          this.#enqueue({ frame, offset: s.next });
          this.#enqueue({ frame, offset: s.target });
          return;
        case 'jump':
          this.#enqueue({ frame, offset: s.target });
          return;
        case 'call':
          // A call of the region's own entry comes back; of others that are not taken in, it is left for good.
          if (!this.#call(frame, offset, s, MOST_INLINED) && s.target === 0) this.#jump(frame, s.next);
          return;
        case 'indirect call':
          for (const target of this.#targetsOf(offset)) this.#call(frame, offset, { ...s, target }, MOST_GUESSED);
          return;
        case 'indirect':
          for (const target of this.#targetsOf(offset)) {
            if (Math.abs(target - offset) < NEAR || this.#isSmall(target, MOST_GUESSED)) this.#jump(frame, target);
          }
          return;
        case 'return':
          if (frame.caller !== undefined) this.#enqueue({ frame: frame.caller, offset: frame.returnOffset });
          return;
        default:
          return;
      }
    }
  }

  #noteTurn({ kind, target }: Successors, offset: number): void {
    if ((kind === 'branch' || kind === 'jump') && target <= offset && target !== 0) this.#turns.add(target);
  }

  #jump(frame: Frame, target: number): void {
    frame.leaders.add(target);
    this.#calls.push({ frame, offset: target });
  }

  /** True if the function is taken into the region. */
  #call(caller: Frame, offset: number, s: Successors, most: number): boolean {
    if (caller.depth >= MOST_CALL_DEPTH) return false;
    let isRecursive = false;
    for (let frame: Frame | undefined = caller; frame !== undefined; frame = frame.caller) {
      isRecursive ||= frame.depth > 0 && frame.entry === s.target;
    }
    if (isRecursive) return false;
    if (!this.#isSmall(s.target, Math.min(most, MOST_INSTRUCTIONS - this.count))) return false;
    const frame = newFrame(caller, s.target, s.next);
    this.#frames.push(frame);
    const calls = this.#inlined.get(caller) ?? new Map<number, Frame[]>();
    this.#inlined.set(caller, calls.set(offset, [...(calls.get(offset) ?? []), frame]));
    frame.leaders.add(s.target);
    this.#calls.push({ frame, offset: s.target });
    return true;
  }

  /** True if so many instructions of a function have been executed, at most, and some have. */
  #isSmall(entry: number, most: number): boolean {
    const seen = new Set<number>();
    const queue = [entry];
    for (let start = queue.pop(); start !== undefined; start = queue.pop()) {
      for (let offset = start; !seen.has(offset); ) {
        const s = this.#at(offset);
        if (s.kind === 'stop') break;
        seen.add(offset);
        if (seen.size > most) return false;
        if (s.kind === 'branch' || s.kind === 'jump') queue.push(s.target);
        if (s.kind !== 'next' && s.kind !== 'branch' && s.kind !== 'call') break;
        offset = s.next;
      }
    }
    return seen.size > 0;
  }

  turns(root: Frame): number[] {
    return [...this.#turns].filter((offset) => root.seen.has(offset));
  }

  /** Cuts what was seen into blocks. */
  blocks(root: Frame): RegionBlock[] {
    const numbers = new Map<Frame, Map<number, number>>();
    const places: Place[] = [{ frame: root, offset: 0 }];
    numbers.set(root, new Map([[0, 0]]));
    const numberOf = (frame: Frame | undefined, offset: number): number => {
      if (frame === undefined || !frame.seen.has(offset)) return OUTSIDE;
      const ofFrame = numbers.get(frame) ?? new Map<number, number>();
      numbers.set(frame, ofFrame);
      let number = ofFrame.get(offset);
      if (number === undefined) {
        number = places.length;
        ofFrame.set(offset, number);
        places.push({ frame, offset });
      }
      return number;
    };
    const blocks: RegionBlock[] = [];
    // `places` grows while it is gone through: only what can be reached becomes a block.
    for (const { frame, offset: start } of places) {
      const code: number[] = [];
      const likely: number[] = [];
      const block = { offset: start, code, taken: OUTSIDE, next: OUTSIDE, likely, returns: OUTSIDE };
      const may = (number: number): void => {
        if (number !== OUTSIDE) likely.push(number);
      };
      blocks.push(block);
      for (let offset = start; ; ) {
        const s = this.#at(offset);
        code.push(s.bits);
        if (s.kind === 'next') {
          offset = s.next;
          if (frame.seen.has(offset) && !frame.leaders.has(offset)) continue;
          block.next = numberOf(frame, offset);
        } else if (s.kind === 'branch') {
          block.taken = numberOf(frame, s.target);
          block.next = numberOf(frame, s.next);
        } else if (s.kind === 'jump') {
          block.taken = numberOf(frame, s.target);
        } else if (s.kind === 'call') {
          block.taken = numberOf(this.#inlined.get(frame)?.get(offset)?.[0], s.target);
          if (block.taken === OUTSIDE && s.target === 0) block.returns = numberOf(frame, s.next);
        } else if (s.kind === 'indirect call') {
          for (const its of this.#inlined.get(frame)?.get(offset) ?? []) may(numberOf(its, its.entry));
        } else if (s.kind === 'indirect') {
          for (const target of this.#targetsOf(offset)) may(numberOf(frame, target));
        } else if (s.kind === 'return') {
          may(numberOf(frame.caller, frame.returnOffset));
        }
        break;
      }
    }
    return blocks;
  }
}

const RA = 1;
const ALTERNATE_LINK = 5;
const isLink = (register: number): boolean => register === RA || register === ALTERNATE_LINK;

/** Whether an instruction can be part of a region. */
export const isForRegions = (bits: number): boolean => successors(bits, 0).kind !== 'stop';

/** The roles of jumps follow the hints of the unprivileged specification, 2.5.1 (return-address stack). */
function successors(bits: number | undefined, offset: number): Successors {
  const stop = { bits: 0, kind: 'stop', target: OUTSIDE, next: OUTSIDE } as const;
  if (bits === undefined) return stop;
  const decoded = decodeBits(bits);
  if (decoded === undefined) return stop;
  const { rd, rs1, imm } = decoded.operands;
  const next = offset + instructionLength(bits);
  const target = offset + imm;
  switch (EFFECTS[decoded.number]!.control) {
    case 'next':
      return { bits, kind: 'next', target: OUTSIDE, next };
    case 'branch':
      return { bits, kind: 'branch', target, next };
    case 'relative':
      return { bits, kind: isLink(rd) ? 'call' : 'jump', target, next };
    case 'indirect':
      return { bits, kind: isLink(rd) ? 'indirect call' : isLink(rs1) ? 'return' : 'indirect', target: OUTSIDE, next };
    case 'interpreter':
      return stop;
  }
}
