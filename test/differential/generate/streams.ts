/**
 * Loops that walk through memory: several accesses by one base register that moves in steps, over the ends of pages, into
 * pages that are not there, may not be written to, belong to another mode, or become so on the way.
 */
import { CSR_NUMBER, MSTATUS } from '../csr.ts';
import { DATA, DATA_SIZE, PAGE } from '../layout.ts';
import type { Program } from '../program.ts';
import type { Random } from '../random.ts';
import { ADDRESS, Builder, SCRATCH } from './builder.ts';
import { emitLoopStep } from './loops.ts';
import { AMO_NAMES, BRANCH_NAMES, emitAccess } from './memory.ts';
import { IdentityTables, leaf, type PageTables, PTE } from './page-tables.ts';

/** Registers that walk, and the counter of the loop around. */
const WALKERS = [18, 19, 20] as const;
const ROUND = 21;
/** Pages in a row, and where they begin for S- and U-mode. */
const PAGES = 8;
const START = 0x4000_0000;
/** Where the page with their entries is seen. */
const WINDOW = 0x4020_0000;
const WALK_STEPS = [1, -1, 2, 4, -4, 8, 8, 8, -8, 16, -16, 24, 32, 64, -64, 100, 256, 511, 512, 513, -513, 1024, 2040];

/** Memory that is walked through. */
interface Terrain {
  start: number;
  pages: number;
  /** addresses of the pages' entries as the supervisor sees them; none if it can't change them */
  entries: readonly number[];
}

function pageFlags(random: Random, user: boolean): bigint {
  let flags = PTE.V | PTE.R | PTE.W | (user ? PTE.U : 0n);
  switch (random.below(12)) {
    case 0:
      flags &= ~PTE.V;
      break;
    case 1:
    case 2:
      flags &= ~PTE.W;
      break;
    case 3:
      // Readable with MXR.
      flags = PTE.V | PTE.X | (flags & PTE.U);
      break;
    case 4:
      flags ^= PTE.U;
      break;
    default:
  }
  if (random.chance(2)) flags |= PTE.A;
  if (random.chance(2)) flags |= PTE.A | PTE.D;
  if (random.chance(6)) flags |= PTE.G;
  return flags;
}

function terrain(b: Builder): Terrain {
  const { random, program, mode } = b;
  if (mode === 'M') return { start: DATA, pages: DATA_SIZE / PAGE, entries: [] };
  const user = mode === 'U';
  const tables: PageTables = new IdentityTables(random.pick([3, 4] as const), user);
  const places: number[] = [];
  for (let page = 0; page < PAGES; page++) {
    // Some pages in a row, and the same page twice.
    const physical = DATA + (random.chance(3) ? random.below(4) : page % 4) * PAGE;
    places.push(tables.set(BigInt(START + page * PAGE), 0, leaf(physical, pageFlags(random, user))));
  }
  const table = places[0]! - (places[0]! % PAGE);
  if (!user) tables.map(BigInt(WINDOW), table, PTE.V | PTE.R | PTE.W | PTE.A | PTE.D);
  program.satp = tables.satp;
  program.pokes.push(...tables.pokes());
  return { start: START, pages: PAGES, entries: user ? [] : places.map((place) => WINDOW + (place - table)) };
}

export function streams(random: Random, number: number): Program {
  const b = new Builder(random, number, 'streams');
  if (random.chance(5)) b.beginNearPageEnd();
  b.setMode(random.pick(['S', 'S', 'U', 'U', 'M'] as const));
  if (b.mode !== 'M') b.delegate();
  b.reserve(...WALKERS, ROUND);
  const ground = terrain(b);
  if (random.chance(2)) b.program.mstatus |= random.bits64() & (MSTATUS.SUM | MSTATUS.MXR);
  b.repeat(2, 6);
  b.program.trapLimit = 150;
  for (let n = random.between(1, 4); n > 0; n--) walk(b, ground);
  return b.build();
}

function walk(b: Builder, ground: Terrain): void {
  const { random, a } = b;
  const walkers = WALKERS.slice(0, random.between(1, WALKERS.length));
  const size = ground.pages * PAGE;
  const steps = walkers.map(() => (random.chance(6) ? 0 : random.pick(WALK_STEPS)));
  const rounds = random.between(4, 60);
  for (const [index, walker] of walkers.entries()) {
    // So that it stays on the ground, and mostly begins near the end of a page.
    const way = Math.abs(steps[index]!) * rounds + 2100;
    const room = Math.max(0, size - 2 * 2100 - (way - 2100));
    let at = 2100 + random.below(room + 1);
    if (random.chance(2)) at = Math.min(Math.max(2100, at - (at % PAGE) + PAGE - random.below(20) * 8), 2100 + room);
    if (!random.chance(4)) at &= ~7;
    if (steps[index]! < 0) at = Math.min(at + way - 2100, size - 2100);
    a.li(walker, ground.start + at);
  }
  const top = b.label();
  a.li(ROUND, rounds);
  a.label(top);
  for (let n = random.between(1, 4); n > 0; n--) stride(b, random.pick(walkers));
  if (random.chance(3)) {
    const over = b.label();
    a.to(random.pick(BRANCH_NAMES), over, { rs1: b.rs(), rs2: b.rs() });
    stride(b, random.pick(walkers));
    a.label(over);
  }
  for (const [index, walker] of walkers.entries()) {
    const step = steps[index]!;
    if (step !== 0 && step >= -32 && step < 32 && random.chance(3)) a.compressed('c.addi', { rd: walker, imm: step });
    else a.op('addi', { rd: walker, rs1: walker, imm: step });
    if (random.chance(3)) stride(b, walker);
  }
  if (random.chance(3)) change(b, ground);
  a.op('addi', { rd: ROUND, rs1: ROUND, imm: -1 });
  a.to('bne', top, { rs1: ROUND, rs2: 0 });
}

/** Some accesses near a walker, with something in between now and then. */
function stride(b: Builder, walker: number): void {
  const { random, a } = b;
  const centre = random.chance(6) ? random.between(-900, 900) : 0;
  const aligned = !random.chance(4);
  for (let n = random.between(1, 5); n > 0; n--) {
    const distance = random.between(-48, 48);
    emitAccess(b, walker, centre + (aligned ? distance & ~7 : distance));
    if (random.chance(8)) emitLoopStep(b);
  }
  if (random.chance(10)) {
    a.op('andi', { rd: ADDRESS, rs1: walker, imm: -8 });
    const name = random.pick([...AMO_NAMES, 'lr.d', 'lr.w']);
    a.atomic(name, { rd: b.rd(), rs1: ADDRESS, rs2: name.startsWith('lr') ? 0 : b.rs() });
  }
}

/** Changes what may be accessed, in the middle of the walk. */
function change(b: Builder, ground: Terrain): void {
  const { random, a } = b;
  if (b.mode === 'U') return;
  if (b.mode === 'M' || random.chance(3)) {
    a.li(SCRATCH, random.pick([MSTATUS.SUM, MSTATUS.MXR, MSTATUS.SUM | MSTATUS.MXR]));
    const imm = b.mode === 'M' ? CSR_NUMBER.mstatus : CSR_NUMBER.sstatus;
    a.op(random.pick(['csrrs', 'csrrc'] as const), { rd: 0, rs1: SCRATCH, imm });
    return;
  }
  const page = random.below(ground.pages);
  a.li(ADDRESS, ground.entries[page]!);
  a.op('ld', { rd: SCRATCH, rs1: ADDRESS, imm: 0 });
  // Permissions, or the frame behind: one of the four pages of data.
  const flags = random.pick([PTE.V, PTE.W, PTE.A, PTE.D, PTE.A | PTE.D, PTE.U, 1n << 10n, 2n << 10n, 3n << 10n]);
  a.op('xori', { rd: SCRATCH, rs1: SCRATCH, imm: Number(BigInt.asIntN(12, flags)) });
  a.op('sd', { rs1: ADDRESS, rs2: SCRATCH, imm: 0 });
  if (random.chance(2)) {
    a.op('sfence.vma', { rs1: 0, rs2: 0 });
  } else {
    a.li(ADDRESS, ground.start + page * PAGE);
    a.op('sfence.vma', { rs1: ADDRESS, rs2: 0 });
  }
}
