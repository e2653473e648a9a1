/** Sv39 and Sv48: random mappings, superpages, permissions, accessed and dirty bits, faults that are delegated or not. */
import { CSR_NUMBER, MODE, MSTATUS } from '../csr.ts';
import { CODE, CODE_SIZE, DATA, DATA_SIZE, PAGE, RAM_BASE } from '../layout.ts';
import type { Program } from '../program.ts';
import type { Random } from '../random.ts';
import { ADDRESS, Builder, SCRATCH } from './builder.ts';
import { emitAccess, emitDataAccess } from './memory.ts';
import { IdentityTables, type Levels, leaf, type PageTables, PTE } from './page-tables.ts';

const ASID_SHIFT = 44n;

/** A place that a program may try to reach. */
interface Place {
  virtual: bigint;
  /** bytes from `virtual` on that may be touched */
  size: number;
  /** whether jumping there finds the program's code */
  code: boolean;
  /** whether there is memory behind it; accesses to what is not there are aligned (see NOWHERE in privileged.ts) */
  memory: boolean;
  /**
   * the supervisor finds a user page with code there, and only jumps to it: after a load with SUM, QEMU's TLB lets the
   * supervisor fetch from it too
   */
  jumpOnly: boolean;
  /** address of its page table entry */
  entry: number;
  /** its entry has G */
  global: boolean;
}

/** Random permissions: usually sensible ones. */
function permissions(random: Random): bigint {
  const sensible = [PTE.R, PTE.R | PTE.W, PTE.R | PTE.X, PTE.X, PTE.R | PTE.W | PTE.X];
  let flags = PTE.V | random.pick(sensible);
  // A writable page that can't be read is reserved; an invalid one is not there.
  if (random.chance(16)) flags = PTE.V | PTE.W | (random.chance(2) ? PTE.X : 0n);
  if (random.chance(12)) flags &= ~PTE.V;
  if (random.chance(2)) flags |= PTE.U;
  if (random.chance(2)) flags |= PTE.A;
  if (random.chance(2)) flags |= PTE.A | PTE.D;
  if (random.chance(4)) flags |= PTE.G;
  return flags;
}

/** A virtual address whose top-level index neither the identity mappings nor the window to the tables use. */
function freeAddress(random: Random, levels: Levels): bigint {
  const bits = BigInt(levels === 3 ? 39 : 48);
  const page = random.bits64() & ((1n << (bits - 12n)) - 1n);
  let address = page << 12n;
  const top = address >> (bits - 9n);
  if (top === 0n || top === 2n || top === 508n || top === 511n) address ^= 16n << (bits - 9n);
  return BigInt.asUintN(64, BigInt.asIntN(Number(bits), address));
}

function randomPlace(random: Random, tables: PageTables, viewer: 'S' | 'U'): Place {
  const virtual = freeAddress(random, tables.levels);
  const flags = permissions(random);
  const global = (flags & PTE.G) !== 0n;
  const kind = random.below(10);
  if (kind < 6) {
    const page = random.below((DATA_SIZE + CODE_SIZE) / PAGE);
    const inData = page < DATA_SIZE / PAGE;
    const physical = inData ? DATA + page * PAGE : CODE;
    // Programs do not write their own code through a second address without saying so (fence.i).
    const entry = tables.map(virtual, physical, inData ? flags : flags & ~PTE.W);
    return {
      virtual,
      size: PAGE,
      code: !inData,
      memory: true,
      jumpOnly: !inData && viewer === 'S' && (flags & PTE.U) !== 0n,
      entry,
      global,
    };
  }
  if (kind < 8) {
    // 2 MiB: the test machine's first, of which only the data is touched; or one that is not aligned, which faults.
    const aligned = virtual & ~0x1f_ffffn;
    const misaligned = random.chance(4) ? 1n << BigInt(10 + random.below(9)) : 0n;
    const entry = tables.set(aligned, 1, leaf(RAM_BASE, flags) | misaligned);
    return {
      virtual: aligned + BigInt(DATA - RAM_BASE),
      size: DATA_SIZE,
      code: false,
      memory: true,
      jumpOnly: false,
      entry,
      global,
    };
  }
  if (kind === 8) {
    const aligned = virtual & ~0x3fff_ffffn;
    const misaligned = random.chance(4) ? 1n << BigInt(10 + random.below(18)) : 0n;
    const entry = tables.set(aligned, 2, leaf(RAM_BASE, flags) | misaligned);
    return {
      virtual: aligned + BigInt(DATA - RAM_BASE),
      size: DATA_SIZE,
      code: false,
      memory: true,
      jumpOnly: false,
      entry,
      global,
    };
  }
  // Entries that point nowhere or have reserved bits.
  const bad = random.pick([
    leaf(0x40_0000, flags),
    leaf(DATA, flags) | (1n << BigInt(random.between(54, 60))),
    leaf(DATA, PTE.V),
    leaf(DATA, PTE.V | PTE.U),
  ]);
  const entry = tables.set(virtual, random.chance(4) ? 1 : 0, bad);
  return { virtual, size: PAGE, code: false, memory: false, jumpOnly: false, entry, global };
}

function emitPlaceAccess(b: Builder, place: Place): void {
  const { random, a } = b;
  if (place.jumpOnly) return;
  let offset = random.chance(4) ? place.size - random.below(9) : random.below(place.size);
  if (!place.memory) offset &= ~7;
  a.li(ADDRESS, BigInt.asUintN(64, place.virtual + BigInt(offset)));
  if (random.chance(6)) {
    a.op('andi', { rd: ADDRESS, rs1: ADDRESS, imm: -8 });
    const reserving = ['lr.d', 'lr.w'];
    a.atomic(random.pick(place.memory ? ['amoadd.d', 'amoswap.w', 'amomaxu.d', ...reserving] : reserving), {
      rd: b.rd(),
      rs1: ADDRESS,
      rs2: 0,
    });
  } else {
    emitAccess(b, ADDRESS, 0);
  }
}

/** Accesses an address that no table can map: the upper bits are not the sign. */
function emitNonCanonical(b: Builder, levels: Levels): void {
  const { random, a } = b;
  a.li(ADDRESS, BigInt(DATA) ^ (1n << BigInt(random.between(levels === 3 ? 39 : 48, 63))));
  // In M-mode it is a physical address at which there is nothing.
  emitAccess(b, ADDRESS, b.mode === 'M' ? 0 : random.below(8));
}

/** Calls code through another address; what returns is the instruction found there. */
function emitJump(b: Builder, place: Place): void {
  if (b.program.resume.length >= 4) return;
  const { a, random } = b;
  const over = b.label();
  const function_ = b.label();
  a.jump(over);
  a.label(function_);
  const offset = a.offset;
  b.compute();
  a.op('jalr', { rd: 0, rs1: SCRATCH, imm: 0 });
  a.label(over);
  a.li(ADDRESS, place.code ? place.virtual + BigInt(offset) : place.virtual + BigInt(random.below(8) * 2));
  // Where the place can be executed but holds data, what follows is anybody's guess: only code is called.
  if (!place.code) {
    a.li(ADDRESS, BigInt.asUintN(64, -BigInt(random.between(1, 1 << 20)) << 12n));
  }
  a.op('jalr', { rd: SCRATCH, rs1: ADDRESS, imm: 0 });
  b.resumeHere();
}

/**
 * Changes the entry of a place through the mapping of the table pages, then fences: by the address space alone only
 * where it is the only one that has seen the page.
 */
function emitRemap(b: Builder, place: Place, { window, tablesBase, satp, changesSpace }: Scene): void {
  const { random, a } = b;
  a.li(ADDRESS, window + BigInt(place.entry - tablesBase));
  a.op('ld', { rd: SCRATCH, rs1: ADDRESS, imm: 0 });
  // Any of V, U, A, D, but U of a code page; never what the entry points to.
  const changes = [PTE.V, PTE.A, PTE.D, PTE.A | PTE.D, ...(place.code ? [] : [PTE.U, PTE.U | PTE.D])];
  a.op('xori', {
    rd: SCRATCH,
    rs1: SCRATCH,
    imm: Number(random.pick(changes)),
  });
  a.op('sd', { rs1: ADDRESS, rs2: SCRATCH, imm: 0 });
  let rs2 = 0;
  if (!changesSpace && !place.global && random.chance(2)) {
    rs2 = SCRATCH;
    a.li(SCRATCH, (satp >> ASID_SHIFT) & 0xffffn);
  }
  if (random.chance(2)) {
    a.op('sfence.vma', { rs1: 0, rs2 });
  } else {
    a.li(ADDRESS, place.virtual);
    a.op('sfence.vma', { rs1: ADDRESS, rs2 });
  }
}

/** The same page tables under another ASID: what another one has cached need not be forgotten, but nothing else changes. */
function emitSpaceChange(b: Builder, satp: bigint): void {
  const { random, a } = b;
  const asid = BigInt(random.pick([0, 1, 2, 3, 0x101, 0xffff]));
  a.li(SCRATCH, (satp & ~(0xffffn << ASID_SHIFT)) | (asid << ASID_SHIFT));
  a.op('csrrw', { rd: 0, rs1: SCRATCH, imm: CSR_NUMBER.satp });
}

export function paging(random: Random, number: number): Program {
  const b = new Builder(random, number, 'paging');
  b.setMode(random.pick(['S', 'S', 'U', 'U', 'M'] as const));
  b.delegate();
  b.program.trapLimit = 40;
  const levels = random.pick([3, 4] as const);
  // In M-mode translation only matters with MPRV, for the mode in MPP.
  const viewer = b.mode === 'M' ? random.pick(['S', 'U'] as const) : b.mode;
  const preset = random.chance(2) ? PTE.A | PTE.D : 0n;
  // Now and then code runs into a page that may be any.
  const crossing = b.mode !== 'M' && random.chance(6);
  if (crossing) b.beginNearPageEnd();
  const tables = new IdentityTables(levels, viewer === 'U', preset, crossing ? permissions(random) : undefined);
  const places: Place[] = [];
  for (let n = random.between(3, 5); n > 0; n--) {
    if (tables.nextPage > 12) break;
    try {
      places.push(randomPlace(random, tables, viewer));
    } catch {
      // Another page is in the way: one place less.
    }
  }
  // A window onto the table pages for the supervisor.
  const window = BigInt.asUintN(64, -(1n << 30n) * 4n);
  const tablesBase = tables.root;
  const mapsWindow = tables.nextPage <= 13;
  if (mapsWindow) {
    for (let page = 0; page < 16; page++) {
      tables.map(window + BigInt(page * PAGE), tablesBase + page * PAGE, PTE.V | PTE.R | PTE.W | PTE.A | PTE.D);
    }
  }
  b.program.satp = tables.satp | (BigInt(random.below(4)) << ASID_SHIFT);
  b.program.pokes.push(...tables.pokes());
  if (random.chance(2)) b.program.mstatus |= random.bits64() & (MSTATUS.SUM | MSTATUS.MXR);
  if (random.chance(8)) b.program.mstatus |= MSTATUS.TVM;

  // With TVM the fence behind a change would trap.
  const hasWindow = b.mode === 'S' && mapsWindow && (b.program.mstatus & MSTATUS.TVM) === 0n;
  b.repeat();
  const changesSpace = hasWindow && random.chance(2);
  const scene = { levels, viewer, places, window, hasWindow, tablesBase, satp: b.program.satp, changesSpace };
  for (let n = random.between(15, 40); n > 0; n--) {
    if (changesSpace && random.chance(6)) emitSpaceChange(b, scene.satp);
    emitStep(b, scene);
  }
  return b.build();
}

interface Scene {
  levels: Levels;
  viewer: 'S' | 'U';
  places: readonly Place[];
  window: bigint;
  hasWindow: boolean;
  tablesBase: number;
  satp: bigint;
  /** whether satp is changed on the way */
  changesSpace: boolean;
}

function emitStep(b: Builder, scene: Scene): void {
  const { random, a } = b;
  const place = random.pick(scene.places);
  switch (random.below(12)) {
    case 0:
      b.compute();
      break;
    case 1:
      emitDataAccess(b);
      break;
    case 2:
      emitNonCanonical(b, scene.levels);
      break;
    case 3:
      if (b.mode !== 'M') emitJump(b, place);
      break;
    case 4: {
      // What the supervisor may read and execute-only pages.
      const bit = random.pick([MSTATUS.SUM, MSTATUS.MXR]);
      a.li(SCRATCH, bit);
      if (b.mode === 'U') break;
      a.op(random.pick(['csrrs', 'csrrc'] as const), {
        rd: 0,
        rs1: SCRATCH,
        imm: b.mode === 'M' ? CSR_NUMBER.mstatus : CSR_NUMBER.sstatus,
      });
      break;
    }
    case 5:
      if (scene.hasWindow) emitRemap(b, place, scene);
      else if (b.mode === 'M') emitModifiedPrivilege(b, scene, place);
      break;
    default:
      if (b.mode === 'M') emitModifiedPrivilege(b, scene, place);
      else emitPlaceAccess(b, place);
  }
}

/** In M-mode: an access as the mode in MPP sees it. */
function emitModifiedPrivilege(b: Builder, scene: Scene, place: Place): void {
  const { a } = b;
  a.li(SCRATCH, 3n << MSTATUS.MPP_SHIFT);
  a.op('csrrc', { rd: 0, rs1: SCRATCH, imm: CSR_NUMBER.mstatus });
  a.li(SCRATCH, MSTATUS.MPRV | (BigInt(MODE[scene.viewer]) << MSTATUS.MPP_SHIFT));
  a.op('csrrs', { rd: 0, rs1: SCRATCH, imm: CSR_NUMBER.mstatus });
  emitPlaceAccess(b, place);
  a.li(SCRATCH, MSTATUS.MPRV);
  a.op('csrrc', { rd: 0, rs1: SCRATCH, imm: CSR_NUMBER.mstatus });
}
