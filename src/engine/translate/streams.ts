import { EFFECTS, type MemoryAccess } from './effects.ts';
import type { Flow } from './flow.ts';
import { groupAccesses } from './groups.ts';
import { instructionsOf, OUTSIDE, type Region } from './region.ts';
import { integersWritten } from './registers.ts';

/**
 * Accesses of a loop by a base register that the loop leaves alone, or moves in small steps: one comes after the other on
 * the same page mostly. The page of the last one is kept in the hart area, so that there is no look at the TLB until it ends.
 */
export interface Stream {
  readonly kind: MemoryAccess['kind'];
  readonly base: number;
  /** Bytes of its longest access, or group of accesses. */
  readonly span: number;
}

export const streamName = ({ kind, base }: Omit<Stream, 'span'>): string => `${kind} ${base}`;

/** Bytes of the longest group: at the end of a page, as many have no place in the stream. */
const MOST_SPAN = 64;
/** Bytes by which a base register may move at once. */
const MOST_STEP = 64;

/**
 * For each block the streams of the innermost loop around it, by name. Streams of one name share a place, and so a span.
 */
export function findStreams(region: Region, flow: Flow): readonly ReadonlyMap<string, Stream>[] {
  const none = new Map<string, Stream>();
  const byLoop = flow.loops.map(({ blocks }) => streamsOf(region, blocks));
  const spans = new Map<string, number>();
  for (const [name, { span }] of byLoop.flatMap((streams) => [...streams])) {
    spans.set(name, Math.max(span, spans.get(name) ?? 0));
  }
  for (const streams of byLoop) {
    for (const [name, stream] of streams) streams.set(name, { ...stream, span: spans.get(name)! });
  }
  return region.blocks.map((_, block) => byLoop[flow.innermostLoop[block]!] ?? none);
}

function streamsOf(region: Region, loop: ReadonlySet<number>): Map<string, Stream> {
  // What a region calls uses the same places: behind the call there is nothing left in them.
  if ([...loop].some((block) => region.blocks[block]!.returns !== OUTSIDE)) return new Map();
  const code = instructionsOf(region);
  const instructions = [...loop].flatMap((block) => code[block]!);
  let jumping = 0;
  for (const decoded of instructions) {
    const { rd, rs1, imm } = decoded.operands;
    // Adding a constant to itself: what `addi` does, whatever its name.
    const effects = EFFECTS[decoded.number]!;
    const isStep = effects.addsImmediate && rd === rs1 && Math.abs(imm) <= MOST_STEP;
    if (!isStep) jumping |= integersWritten(decoded);
  }
  const streams = new Map<string, Stream>();
  for (const group of [...loop].flatMap((block) => groupAccesses(code[block]!))) {
    if (group === undefined || jumping & (1 << group.base)) continue;
    const name = streamName(group);
    const span = Math.max(group.last - group.low + 1, streams.get(name)?.span ?? 0);
    if (span <= MOST_SPAN) streams.set(name, { kind: group.kind, base: group.base, span });
  }
  return streams;
}
