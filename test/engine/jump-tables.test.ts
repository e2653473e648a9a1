import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EXIT } from '../../src/engine/state.ts';
import { type Assembler, R } from './assembler.ts';
import { DATA, PageTables, PTE, RAM, RWX } from './bare-machine.ts';
import { addN } from './patching.ts';
import { paged } from './supervisor.ts';

const { ra, a0, a1, a2, t0, t1, t2, s0, s1 } = R;
const GLOBAL = RWX | PTE.G;
/** Where both address spaces have a function of their own. */
const HERE = 0x1000;
/** Translated code jumps there from here, by way of the jump table. */
const FROM = 0x2000;
const WINDOW = 0x5000_0000;
const ROUNDS = 200;
const SECOND_ASID = 2;

const asid = (satp: bigint, number: number): bigint => satp | (BigInt(number) << 44n);

/** A loop that adds `n` to a2 four times, with all calls in it translated. */
function adder(n: number, end: (a: Assembler) => void) {
  return (a: Assembler): void => {
    a.li(t0, 4).label('again').word(addN(n)).i('addi', { rd: t0, rs1: t0, imm: -1 }).to('bne', 'again', { rs1: t0 });
    end(a);
  };
}

function twoSpaces(flags: number, end: (a: Assembler) => void) {
  const { machine, tables: first } = paged(3, { threshold: 2 });
  const second = new PageTables(machine);
  for (let page = 0; page < 8; page++) {
    for (const tables of [first, second]) tables.map(RAM + page * 4096, RAM + page * 4096, GLOBAL);
  }
  const entries = [first.map(HERE, DATA, flags), second.map(HERE, DATA + 0x1000, flags)] as const;
  for (const [i, n] of [1, 16, 256].entries()) machine.load(DATA + i * 0x1000, adder(n, end));
  machine.load(DATA + 0x3000, (a) => a.i('jalr', { rs1: a0 }));
  for (const tables of [first, second]) tables.map(FROM, DATA + 0x3000, flags);
  for (const entry of entries) {
    const page = entry - (entry % 4096);
    for (const tables of [first, second]) tables.map(WINDOW + (page - RAM), page, GLOBAL);
  }
  return { machine, entries, satps: [asid(first.satp, 1), asid(second.satp, SECOND_ASID)] as const };
}

/** Alternates between the address spaces, each time with a call to the function in it. */
function alternate(a: Assembler, satps: readonly [bigint, bigint], call: (a: Assembler) => void): void {
  a.li(s0, satps[1]).li(s1, satps[0]).li(a1, ROUNDS).li(a2, 0).label('round');
  call(a);
  a.csr('csrrw', 0, 'satp', s0).i('addi', { rd: t1, rs1: s0 }).i('addi', { rd: s0, rs1: s1 });
  a.i('addi', { rd: s1, rs1: t1 }).i('addi', { rd: a1, rs1: a1, imm: -1 }).to('bne', 'round', { rs1: a1 });
}

const callS = (a: Assembler): unknown => a.li(a0, HERE).li(t0, FROM).i('jalr', { rd: ra, rs1: t0 });
const back = (a: Assembler): unknown => a.i('jalr', { rs1: ra });

const HANDLER = RAM + 0x4000;
/** Calls a function in U-mode, which ends with ECALL; the handler goes on behind the call. */
const callU = (a: Assembler): void => {
  a.li(a0, HERE).li(t0, FROM).csr('csrrw', 0, 'sepc', t0).li(t0, 0x100).csr('csrrc', 0, 'sstatus', t0);
  a.i('auipc', { rd: t2 }).i('addi', { rd: t2, rs1: t2, imm: 12 }).i('sret');
};

const MODES = {
  S: { flags: RWX, end: back, call: callS },
  U: { flags: RWX | PTE.U, end: (a: Assembler) => a.i('ecall'), call: callU },
} as const;

function start(mode: keyof typeof MODES) {
  const { flags, end, call } = MODES[mode];
  const spaces = twoSpaces(flags, end);
  const { machine, satps } = spaces;
  machine.load(HANDLER, (a) => a.i('jalr', { rs1: t2 }));
  const execute = (write: (a: Assembler) => void): unknown =>
    machine.execute(write, { privilege: 1, csrs: { satp: satps[0], medeleg: 1 << 8, stvec: HANDLER } });
  return { ...spaces, flags, call, execute };
}

/** What a2 is behind `alternate`. */
const ALTERNATED = BigInt((ROUNDS / 2) * 4 * 17);

for (const mode of ['S', 'U'] as const) {
  describe(`jump tables and address spaces: ${mode}-mode`, () => {
    test('code of one address space is not entered in another', () => {
      const { machine, satps, call, execute } = start(mode);
      execute((a) => alternate(a, satps, call));
      machine.expectNoTrap();
      assert.equal(machine.x(a2), ALTERNATED);
      assert.ok(machine.hart.field('translatedInstructions') > BigInt(ROUNDS * 8));
    });

    for (const [name, fence] of [
      ['by address', (a: Assembler) => a.li(t0, HERE + 8).i('sfence.vma', { rs1: t0 })],
      ['by address space', (a: Assembler) => a.li(t0, SECOND_ASID).i('sfence.vma', { rs2: t0 })],
      ['by both', (a: Assembler) => a.li(t0, SECOND_ASID).li(t1, HERE).i('sfence.vma', { rs1: t1, rs2: t0 })],
    ] as const) {
      for (const from of ['itself', 'another one'] as const) {
        test(`a fence ${name}, from ${from}: the region at the old place is not entered any more`, () => {
          const { machine, satps, entries, flags, call, execute } = start(mode);
          execute((a) => {
            alternate(a, satps, call);
            // It is in the first address space now.
            a.i('addi', { rd: s0, rs1: a2 }).setCsr('satp', satps[1]);
            call(a);
            call(a);
            a.li(a2, 0);
            if (from !== 'itself') a.setCsr('satp', satps[0]);
            a.li(t0, WINDOW + (entries[1] - RAM)).li(t1, ((BigInt(DATA + 0x2000) >> 12n) << 10n) | BigInt(flags));
            a.i('sd', { rs1: t0, rs2: t1 });
            fence(a);
            if (from !== 'itself') a.setCsr('satp', satps[1]);
            call(a);
          });
          machine.expectNoTrap();
          assert.equal(machine.x(s0), ALTERNATED);
          assert.equal(machine.x(a2), 1024n);
        });
      }
    }
  });
}

test('U-mode: a fence of the address space by another hart, in the middle of a loop', () => {
  const { machine, entries, satps } = twoSpaces(RWX | PTE.U, back);
  // Calls for ever.
  machine.load(DATA + 0x3000, (a) => a.label('again').i('jalr', { rd: ra, rs1: a0 }).jump('again'));
  machine.boot({ pc: FROM, privilege: 0, csrs: { satp: satps[0] } });
  machine.hart.setX(a0, BigInt(HERE));
  machine.run(EXIT.budget);
  assert.ok(machine.hart.field('translatedInstructions') > 0n);
  // Here it is between two instructions of U-mode.
  const leaf = ((BigInt(DATA + 0x2000) >> 12n) << 10n) | BigInt(RWX | PTE.U);
  machine.memory.writeU64(entries[0], leaf);
  machine.hart.forgetSpace(1);
  const before = machine.x(a2);
  machine.run(EXIT.budget);
  const added = machine.x(a2) - before;
  assert.ok(added > 0n && added % 256n === 0n, `${added}`);
});
