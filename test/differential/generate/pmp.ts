/** Physical memory protection: regions of every kind over the data and the page tables, seen from S- and U-mode. */
import { CSR_NUMBER, MODE, MSTATUS } from '../csr.ts';
import { DATA, DATA_SIZE, PAGE, PAGE_TABLES } from '../layout.ts';
import { PMP_ALL, type Program } from '../program.ts';
import type { Random } from '../random.ts';
import { ADDRESS, Builder, DATA_BASE, SCRATCH } from './builder.ts';
import { emitAccess } from './memory.ts';

/** Address matching modes in bits 3 and 4 of a pmpcfg byte. */
const [OFF, TOR, NA4, NAPOT] = [0, 1, 2, 3] as const;

/** Read, write, execute; write without read is reserved. */
const PERMISSIONS = [0, 1, 3, 4, 5, 7];

interface Regions {
  addresses: [bigint, bigint, bigint, bigint];
  configuration: bigint;
  /** addresses at and around which something changes */
  edges: number[];
  coversTables: boolean;
}

function randomRegions(random: Random): Regions {
  const addresses: [bigint, bigint, bigint, bigint] = [0n, 0n, 0n, 0n];
  const edges: number[] = [];
  let configuration = PMP_ALL;
  for (let n = 0; n < 4; n++) {
    const mode = random.pick([OFF, TOR, NA4, NAPOT, NAPOT]);
    const permissions = random.pick(PERMISSIONS);
    // Eight bytes up to two pages, aligned to its size.
    const size = 8 << random.below(11);
    const start = (DATA + random.below(DATA_SIZE)) & ~(size - 1);
    // A TOR entry reaches from the address of the entry before it, below which there is code: it keeps off that.
    const base = start >>> 0;
    edges.push(base, base + size);
    addresses[n] = BigInt(base) >> 2n;
    if (mode === NAPOT) addresses[n]! |= (BigInt(size) >> 3n) - 1n;
    const usable = mode === TOR && (n === 0 || addresses[n - 1]! < BigInt(DATA) >> 2n) ? OFF : mode;
    configuration |= BigInt((usable << 3) | permissions) << BigInt(n * 8);
  }
  const coversTables = random.chance(4);
  if (coversTables) {
    // A page of the tables is out of bounds for the walk.
    const page = PAGE_TABLES + random.below(4) * PAGE;
    addresses[3] = (BigInt(page) >> 2n) | 0x1ffn;
    configuration = (configuration & ~(0xffn << 24n)) | (BigInt((NAPOT << 3) | random.pick([0, 1, 3])) << 24n);
  }
  return { addresses, configuration, edges, coversTables };
}

export function pmp(random: Random, number: number): Program {
  const b = new Builder(random, number, 'pmp');
  b.setMode(random.pick(['S', 'U', 'U', 'M'] as const));
  b.delegate();
  b.program.trapLimit = 40;
  if (random.chance(2)) b.identityPaging();
  const regions = randomRegions(random);
  b.program.pmpaddr = regions.addresses;
  b.program.pmpcfg0 = regions.configuration;
  // The stub could not be fetched where the walk is denied its way.
  if (regions.coversTables) b.program.medeleg = 0n;
  b.repeat();
  const { a } = b;
  for (let n = random.between(15, 40); n > 0; n--) {
    if (random.chance(8)) {
      b.compute();
      continue;
    }
    if (b.mode === 'M') {
      // M-mode is not bound by entries that are not locked, but for accesses on behalf of another mode.
      const on = random.chance(2);
      a.li(SCRATCH, (3n << MSTATUS.MPP_SHIFT) | MSTATUS.MPRV);
      a.op('csrrc', { rd: 0, rs1: SCRATCH, imm: CSR_NUMBER.mstatus });
      a.li(SCRATCH, (BigInt(MODE.U) << MSTATUS.MPP_SHIFT) | MSTATUS.MPRV);
      if (on) a.op('csrrs', { rd: 0, rs1: SCRATCH, imm: CSR_NUMBER.mstatus });
    }
    if (random.chance(4)) {
      emitAccess(b, DATA_BASE, random.between(-256, 255) * 8);
    } else {
      const near = Math.min(Math.max(random.pick(regions.edges) + random.between(-12, 11), DATA), DATA + DATA_SIZE - 8);
      // Of a misaligned access QEMU looks at its ends alone, or at whole words if it crosses a page.
      const single = random.chance(3);
      a.li(ADDRESS, single ? near : (near & ~7) >>> 0);
      if (single) a.op(random.pick(['lb', 'lbu', 'sb'] as const), { rd: b.rd(), rs1: ADDRESS, rs2: b.rs(), imm: 0 });
      else emitAccess(b, ADDRESS, 0);
    }
  }
  return b.build();
}
