import { EFFECTS, type MemoryAccess } from './effects.ts';
import type { Flow } from './flow.ts';
import { decodeBits, OUTSIDE, type Region } from './region.ts';
import { registersWritten } from './registers.ts';

/**
 * Accesses of a loop by a base register that the loop leaves alone, or moves in small steps: one comes after the other on
 * the same page mostly. The page of the last one is kept in locals, so that there is no look at the TLB until it ends.
 */
export interface Stream {
  readonly kind: MemoryAccess['kind'];
  readonly base: number;
}

export const streamName = ({ kind, base }: Stream): string => `${kind} ${base}`;

/** Bytes by which a base register may move at once. */
const MOST_STEP = 64;

/** For each block the streams of the innermost loop around it, by name. */
export function findStreams(region: Region, flow: Flow): readonly ReadonlyMap<string, Stream>[] {
  const none = new Map<string, Stream>();
  const byLoop = new Map<number, ReadonlyMap<string, Stream>>();
  return region.blocks.map((_, block) => {
    const header = flow.innermostLoop[block]!;
    if (header === OUTSIDE) return none;
    let streams = byLoop.get(header);
    if (streams === undefined) {
      streams = streamsOf(region, flow.loops.get(header)!);
      byLoop.set(header, streams);
    }
    return streams;
  });
}

function streamsOf(region: Region, loop: ReadonlySet<number>): ReadonlyMap<string, Stream> {
  const instructions = [...loop].flatMap((block) => region.blocks[block]!.code.map((bits) => decodeBits(bits)!));
  let jumping = 0;
  for (const decoded of instructions) {
    const { rd, rs1, imm } = decoded.operands;
    // Adding a constant to itself: what `addi` does, whatever its name.
    const effects = EFFECTS[decoded.number]!;
    const isStep = effects.addsImmediate && rd === rs1 && Math.abs(imm) <= MOST_STEP;
    if (!isStep) jumping |= registersWritten(decoded).x;
  }
  const streams = new Map<string, Stream>();
  for (const decoded of instructions) {
    const { access } = EFFECTS[decoded.number]!;
    const base = decoded.operands.rs1;
    if (access === undefined || jumping & (1 << base)) continue;
    const stream = { kind: access.kind, base };
    streams.set(streamName(stream), stream);
  }
  return streams;
}
