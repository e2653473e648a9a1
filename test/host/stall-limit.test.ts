/** Two guests that both want more than there is: the one that was promised to wait little is let out, at the other's expense. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RAM_BASE } from '../../src/devices/map.ts';
import { Host } from '../../src/index.ts';
import { Assembler, R } from '../engine/assembler.ts';
import { kernelImage } from '../machine/kernel-image.ts';

const { t0, t1, t2, s0, s1 } = R;
const MIB = 2 ** 20;
/** What each guest uses at random, and what there is for both, MiB. */
const USED = 32;
const FOR_BOTH = 44;
/** Part of its time that the second one may wait, percent. */
const LIMIT = 5;
const DEADLINE_MS = 40_000;

const folder = mkdtempSync(join(tmpdir(), 'ballonet-stall-'));
after(() => rmSync(folder, { recursive: true }));

interface Seen {
  /** MiB */
  readonly resident: number;
  /** Percent of the guest's time. */
  readonly stalled: number;
  readonly text: string;
}

/** A kernel that raises a word of a random page, for ever. */
function program(): string {
  const path = join(folder, 'program');
  const a = new Assembler();
  a.li(s0, RAM_BASE + 4 * MIB).li(s1, 1);
  a.li(t0, 6364136223846793005n).label('again');
  a.i('mul', { rd: s1, rs1: s1, rs2: t0 }).i('addi', { rd: s1, rs1: s1, imm: 1 });
  // The upper bits are the random ones: as many pages as are used.
  a.i('srli', { rd: t1, rs1: s1, imm: 64 - Math.log2((USED * MIB) / 4096) }).i('slli', { rd: t1, rs1: t1, imm: 12 });
  a.i('add', { rd: t1, rs1: t1, rs2: s0 }).i('ld', { rd: t2, rs1: t1, imm: 8 });
  a.i('addi', { rd: t2, rs1: t2, imm: 1 }).i('sd', { rs1: t1, rs2: t2, imm: 8 });
  a.to('beq', 'again', {});
  writeFileSync(path, kernelImage(a.finish()));
  return path;
}

/** Starts two guests, of which the second one may have a stall limit, and looks at both until `enough` says so. */
async function pressed(
  limit: number | undefined,
  enough: (of: readonly [Seen, Seen]) => boolean,
): Promise<[Seen, Seen]> {
  const host = await Host.create({ machineMemory: 128 * MIB, swapSize: 128 * MIB, sharing: false, compressed: 0 });
  try {
    const options = { memory: (USED + 8) * MIB, minimum: 4 * MIB, kernel: program(), devices: false } as const;
    const guests = [
      await host.start({ ...options, name: 'first' }),
      await host.start({ ...options, name: 'second', ...(limit === undefined ? {} : { stallLimit: limit }) }),
    ] as const;
    // So that all that they have is in use.
    await sleep(1000);
    await host.limitMemory(FOR_BOTH * MIB);
    const look = async (of: (typeof guests)[number]): Promise<Seen> => {
      const { stalled, text } = await host.explain(of);
      return { resident: of.statistics().memory.resident / MIB, stalled, text };
    };
    const start = performance.now();
    for (;;) {
      await sleep(250);
      const seen: [Seen, Seen] = [await look(guests[0]), await look(guests[1])];
      if (enough(seen) || performance.now() - start > DEADLINE_MS) {
        await host.check();
        return seen;
      }
    }
  } finally {
    await host.close();
  }
}

test('a guest that waits longer than its stall limit is let out, at the expense of one without', async () => {
  const isLetOut = ([first, second]: readonly [Seen, Seen]): boolean =>
    second.resident > 2 * first.resident && second.stalled < 0.75 * first.stalled;
  const seen = await pressed(LIMIT, isLetOut);
  assert.ok(isLetOut(seen), JSON.stringify(seen));
});

test('without a limit neither of them is', async () => {
  let looks = 0;
  const [first, second] = await pressed(
    undefined,
    (seen) => Math.min(seen[0].stalled, seen[1].stalled) > 10 && ++looks > 8,
  );
  assert.ok(Math.min(first.stalled, second.stalled) > 10, 'both of them wait');
  const ratio = first.resident / second.resident;
  assert.ok(ratio > 2 / 3 && ratio < 3 / 2, `${first.resident} and ${second.resident} MiB`);
});
