/**
 * Loops that change the code they run through. A store of the hart itself takes effect at once, with or without a fence.i:
 * more than the architecture asks for, and what each tier does.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encode } from '../../../src/isa/encode.ts';
import { type Assembler, R } from '../assembler.ts';
import { BareMachine, CODE, DATA, RAM } from '../bare-machine.ts';
import { addN } from '../patching.ts';
import { TIERS, type Tier } from '../tiers.ts';

const { ra, a0, a1, a2, a3, a4, a5, a6, a7, t0, t1 } = R;

const ROUNDS = 120;
/** In every so many rounds the site is changed: it adds the number of the round from then on. */
const EVERY = 16;
/** What the site adds at first. Its low bits are 0, as those of the numbers of these rounds. */
const FIRST = 1024;
const NOP = encode('addi');
/** A page of code for functions that lie apart; the page behind it is free as well. */
const APART = RAM + 0x4000;
/** Where stores go in rounds that do not change the site. */
const DUMMY = DATA + 0x400;

/** Emits the store to the address in a0 of the instruction in a1; t0 and a6 may be used. */
type Store = (a: Assembler) => void;

const STORES: Record<string, Store> = {
  sw: (a) => a.i('sw', { rs1: a0, rs2: a1 }),
  'sh of the upper half': (a) => a.i('srli', { rd: t0, rs1: a1, imm: 16 }).i('sh', { rs1: a0, rs2: t0, imm: 2 }),
  'sb of the last byte': (a) => a.i('srli', { rd: t0, rs1: a1, imm: 24 }).i('sb', { rs1: a0, rs2: t0, imm: 3 }),
  'sd over it and what stands before it': (a) =>
    a
      .i('slli', { rd: t0, rs1: a1, imm: 32 })
      .li(a6, NOP)
      .i('or', { rd: t0, rs1: t0, rs2: a6 })
      .i('sd', { rs1: a0, rs2: t0, imm: -4 }),
  'a misaligned sw over its second half and what stands behind it': (a) =>
    a
      .i('srli', { rd: t0, rs1: a1, imm: 16 })
      .li(a6, (NOP & 0xffff) << 16)
      .i('or', { rd: t0, rs1: t0, rs2: a6 })
      .i('sw', { rs1: a0, rs2: t0, imm: 2 }),
  'the second of two stores of a group': (a) =>
    a.li(a6, NOP).i('sw', { rs1: a0, rs2: a6, imm: -4 }).i('sw', { rs1: a0, rs2: a1 }),
  fsw: (a) => a.i('fmv.w.x', { rd: 1, rs1: a1 }).i('fsw', { rs1: a0, rs2: 1 }),
  // Atomic ones are aligned.
  'amoswap.w': (a) => a.i('amoswap.w', { rd: t0, rs1: a0, rs2: a1 }),
  'sc.w': (a) => a.i('lr.w', { rd: t0, rs1: a0 }).i('sc.w', { rd: t0, rs1: a0, rs2: a1 }),
};

/** Where the site is: its address, and whether a round comes to it before the store. */
interface Place {
  readonly before: boolean;
  /** Emits what the round does around the store, and the site; before `store` and behind it. */
  readonly write: (a: Assembler, part: 'before' | 'behind') => void;
  /** Address of the site, when the program is assembled. */
  readonly address: (a: Assembler) => number;
  /** Code that lies apart. */
  readonly apart?: { readonly at: number; readonly write: (a: Assembler) => void };
}

/** An instruction that can be told from others on both sides, and the site. */
const site = (a: Assembler): unknown => {
  // Double words of the site and what stands before it are aligned.
  if (a.length % 8 !== 0) a.nops(1);
  return a.nops(1).label('site').word(addN(FIRST)).nops(1);
};
const own = (a: Assembler): number => CODE + a.offset('site');

const functionAt = (at: number, distance: number): Place => ({
  before: false,
  write: (a, part) => {
    if (part === 'behind') a.li(a7, at).i('jalr', { rd: ra, rs1: a7 });
  },
  address: () => at + distance,
  apart: {
    at,
    write: (a) =>
      a
        .nops(distance / 4)
        .word(addN(FIRST))
        .nops(1)
        .i('jalr', { rs1: ra }),
  },
});

const ON_TWO_PAGES = 'on two pages';
const PLACES: Record<string, Place> = {
  'behind the store in its block': {
    before: false,
    write: (a, part) => part === 'behind' && site(a),
    address: own,
  },
  'in front of the store in its block': {
    before: true,
    write: (a, part) => part === 'before' && site(a),
    address: own,
  },
  'in another block of the loop': {
    before: false,
    write: (a, part) => {
      if (part === 'behind')
        site(a.i('andi', { rd: t0, rs1: a5, imm: 3 }).to('beq', 'on', { rs1: t0 }).nops(1).label('on'));
    },
    address: own,
  },
  'in a function that the loop calls': {
    before: false,
    write: (a, part) => {
      if (part === 'before') {
        a.jump('over').label('function');
        site(a);
        a.i('jalr', { rs1: ra }).label('over');
      } else a.to('jal', 'function', { rd: ra });
    },
    address: own,
  },
  'in a function on another page': functionAt(APART + 0x100, 4),
  'at the start of the page behind, in the middle of a function': functionAt(APART + 0xffc, 4),
  [ON_TWO_PAGES]: functionAt(APART + 0xffa, 4),
};

/** What a2 comes to. */
function expected({ before }: Place): bigint {
  let sum = 0;
  let adds = FIRST;
  for (let round = ROUNDS; round > 0; round--) {
    if (before) sum += adds;
    if (round % EVERY === 0) adds = round;
    if (!before) sum += adds;
  }
  return BigInt(sum);
}

/** The loop; the store goes elsewhere in rounds in which the site stays as it is. */
function loop(a: Assembler, place: Place, address: number, store: Store, fence: boolean): void {
  a.li(t0, 3 << 13).csr('csrrs', 0, 'mstatus', t0);
  a.li(a2, 0).li(a5, ROUNDS).li(a3, DUMMY).li(a4, DUMMY).label('loop');
  place.write(a, 'before');
  // a0: the site in some rounds, DUMMY in the others.
  a.i('andi', { rd: t1, rs1: a5, imm: EVERY - 1 }).i('sltiu', { rd: t1, rs1: t1, imm: 1 });
  a.i('sub', { rd: t1, rs1: 0, rs2: t1 })
    .li(a0, 2 ** 31)
    .li(t0, address - 2 ** 31)
    .i('add', { rd: a0, rs1: a0, rs2: t0 });
  a.i('sub', { rd: a0, rs1: a0, rs2: a3 })
    .i('and', { rd: a0, rs1: a0, rs2: t1 })
    .i('add', { rd: a0, rs1: a0, rs2: a3 });
  a.i('slli', { rd: a1, rs1: a5, imm: 20 }).li(t0, addN(0)).i('add', { rd: a1, rs1: a1, rs2: t0 });
  store(a);
  if (fence) a.i('fence.i');
  place.write(a, 'behind');
  a.i('addi', { rd: a5, rs1: a5, imm: -1 }).to('bne', 'loop', { rs1: a5 }).i('wfi');
}

function run(tier: Tier, place: Place, store: Store, fence: boolean): BareMachine {
  const machine = new BareMachine({ tier });
  if (place.apart !== undefined) machine.load(place.apart.at, place.apart.write);
  let address = CODE;
  // The length of the program does not depend on the address, which is one of RAM.
  for (let pass = 0; pass < 3; pass++) {
    machine.load(CODE, (a) => {
      loop(a, place, address, store, fence);
      address = place.address(a);
    });
  }
  machine.boot();
  machine.run();
  return machine;
}

/** Rounds times a few instructions: what has to be translated of them at least. */
const LEAST_TRANSLATED: Record<Tier, bigint> = { interpreter: 0n, mixed: 200n, translator: 500n };

for (const tier of TIERS) {
  for (const [where, place] of Object.entries(PLACES)) {
    describe(`code that is changed ${where} (${tier})`, () => {
      for (const [name, store] of Object.entries(STORES)) {
        if (where === ON_TWO_PAGES && (name === 'amoswap.w' || name === 'sc.w')) continue;
        test(`by ${name}`, () => {
          for (const fence of [false, true]) {
            const machine = run(tier, place, store, fence);
            machine.expectNoTrap();
            assert.equal(machine.x(a2), expected(place), fence ? 'with fence.i' : 'without fence.i');
            assert.ok(machine.hart.field('translatedInstructions') >= LEAST_TRANSLATED[tier]);
          }
        });
      }
    });
  }
}
