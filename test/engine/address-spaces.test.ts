import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { offset32 } from '../../src/engine/state.ts';
import { type Assembler, R } from './assembler.ts';
import { type BareMachine, CODE, DATA, PageTables, PTE, RAM, RWX } from './bare-machine.ts';
import { load, paged } from './supervisor.ts';

const { a0, a1, a2, a3, t0, t1 } = R;
const GLOBAL = RWX | PTE.G;
const HERE = 0x1000;
/** Where the page tables are mapped to. */
const WINDOW = 0x5000_0000;
const BIG = 2n ** 40n;

const asid = (satp: bigint, number: number): bigint => satp | (BigInt(number) << 44n);
const walks = ({ hart }: BareMachine): number => Number(hart.field('walks'));

/** Two address spaces that map the same program; `HERE` is DATA in the first and DATA + 0x1000 in the second one. */
function twoSpaces(flags = RWX) {
  const { machine, tables: first } = paged();
  const second = new PageTables(machine);
  for (let page = 0; page < 8; page++) {
    for (const tables of [first, second]) tables.map(RAM + page * 4096, RAM + page * 4096, GLOBAL);
  }
  const entries = [first.map(HERE, DATA, flags), second.map(HERE, DATA + 0x1000, flags)] as const;
  for (const entry of entries) {
    const page = entry - (entry % 4096);
    for (const tables of [first, second]) tables.map(WINDOW + (page - RAM), page, GLOBAL);
  }
  machine.memory.writeU64(DATA, 1n);
  machine.memory.writeU64(DATA + 0x1000, 2n);
  machine.memory.writeU64(DATA + 0x2000, 3n);
  return { machine, first, second, entries };
}

/** Leads an entry to another page, through the window. */
function remap(a: Assembler, entry: number, page: number, flags: number): void {
  a.li(t0, WINDOW + (entry - RAM)).li(t1, ((BigInt(page) / 4096n) << 10n) | BigInt(flags));
  a.i('sd', { rs1: t0, rs2: t1 });
}

describe('address spaces', () => {
  test('the ASID in satp has 16 bits', () => {
    const { machine, tables } = paged();
    machine.execute((a) => a.setCsr('satp', asid(tables.satp, 0xffff)).csr('csrrs', a0, 'satp'), {
      privilege: 1,
      csrs: { satp: tables.satp },
    });
    assert.equal(machine.x(a0), asid(tables.satp, 0xffff));
  });

  test('changes between two of them walk no page table again; every access is to the right page', () => {
    const { machine, first, second } = twoSpaces();
    machine.execute(
      (a) => {
        a.li(a0, HERE).li(a1, asid(first.satp, 1)).li(a2, asid(second.satp, 2)).li(a3, 0).li(t0, 100);
        a.label('again');
        for (const satp of [a2, a1]) {
          a.csr('csrrw', 0, 'satp', satp)
            .i(...load(t1))
            .i('add', { rd: a3, rs1: a3, rs2: t1 });
        }
        a.i('addi', { rd: t0, rs1: t0, imm: -1 }).to('bne', 'again', { rs1: t0 });
      },
      { privilege: 1, csrs: { satp: asid(first.satp, 1) } },
    );
    machine.expectNoTrap();
    assert.equal(machine.x(a3), 300n);
    assert.ok(walks(machine) < 20, `${walks(machine)} walks`);
  });

  test('ASIDs that differ in their upper bits alone are different', () => {
    const { machine, first, second } = twoSpaces();
    machine.execute(
      (a) =>
        a
          .li(a0, HERE)
          .i(...load(a1))
          .setCsr('satp', asid(second.satp, 0x101))
          .i(...load(a2))
          .setCsr('satp', asid(first.satp, 1))
          .i(...load(a3)),
      { privilege: 1, csrs: { satp: asid(first.satp, 1) } },
    );
    assert.deepEqual([machine.x(a1), machine.x(a2), machine.x(a3)], [1n, 2n, 1n]);
  });

  test('two page tables with one ASID, without a fence: the one in satp holds', () => {
    const { machine, first, second } = twoSpaces();
    machine.execute(
      (a) => {
        a.li(a0, HERE);
        for (const [satp, rd] of [
          [first.satp, a1],
          [second.satp, a2],
          [first.satp, a3],
        ] as const) {
          a.setCsr('satp', asid(satp, 7)).i(...load(rd));
        }
      },
      { privilege: 1, csrs: { satp: asid(first.satp, 1) } },
    );
    assert.deepEqual([machine.x(a1), machine.x(a2), machine.x(a3)], [1n, 2n, 1n]);
  });

  test('another mode is another address space, for global pages too', () => {
    const { machine, first } = twoSpaces(GLOBAL);
    const four = new PageTables(machine, 4);
    for (let page = 0; page < 8; page++) four.map(RAM + page * 4096, RAM + page * 4096, GLOBAL);
    four.map(HERE, DATA + 0x2000, GLOBAL);
    machine.execute(
      (a) =>
        a
          .li(a0, HERE)
          .i(...load(a1))
          .setCsr('satp', four.satp)
          .i(...load(a2))
          .setCsr('satp', 0)
          .i(...load(a3)),
      { privilege: 1, csrs: { satp: first.satp } },
    );
    assert.deepEqual([machine.x(a1), machine.x(a2)], [1n, 3n]);
    machine.expectTrap(5, machine.hart.field('mepc'), HERE);
  });

  const fences: [name: string, fence: (a: Assembler) => void, flags: number][] = [
    ['of everything', (a) => a.i('sfence.vma'), RWX],
    ['of everything, for a global page', (a) => a.i('sfence.vma'), GLOBAL],
    ['by address', (a) => a.i('sfence.vma', { rs1: a0 }), RWX],
    ['by address, for a global page', (a) => a.i('sfence.vma', { rs1: a0 }), GLOBAL],
    ['by address space', (a) => a.li(t0, 2).i('sfence.vma', { rs2: t0 }), RWX],
    ['by address and address space', (a) => a.li(t0, 2).i('sfence.vma', { rs1: a0, rs2: t0 }), RWX],
    ['by address space, with more bits than an ASID has', (a) => a.li(t0, 2n - BIG).i('sfence.vma', { rs2: t0 }), RWX],
  ];
  for (const [name, fence, flags] of fences) {
    for (const from of ['itself', 'another one'] as const) {
      test(`a fence ${name}, from ${from}: the address space has the new entry`, () => {
        const { machine, first, second, entries } = twoSpaces(flags);
        machine.execute(
          (a) => {
            a.li(a0, HERE)
              .setCsr('satp', asid(second.satp, 2))
              .i(...load(a1));
            if (from === 'another one') a.setCsr('satp', asid(first.satp, 1));
            remap(a, entries[1], DATA + 0x2000, flags);
            fence(a);
            a.setCsr('satp', asid(second.satp, 2)).i(...load(a2));
          },
          { privilege: 1, csrs: { satp: asid(first.satp, 1) } },
        );
        machine.expectNoTrap();
        // A global page is the same one in all address spaces: what the first saw of it counts.
        assert.deepEqual([machine.x(a1), machine.x(a2)], [2n, 3n]);
      });
    }
  }

  test('a fence of another address space, or by an address elsewhere, leaves what is cached', () => {
    const { machine, first, second } = twoSpaces();
    const cached: number[] = [];
    for (const fence of [false, true]) {
      machine.execute(
        (a) => {
          a.li(a0, HERE).i(...load(a1));
          if (fence) {
            a.li(t0, 2).i('sfence.vma', { rs2: t0 });
            a.li(t1, 0x7000).i('sfence.vma', { rs1: t1, rs2: t0 }).i('sfence.vma', { rs1: t1 });
          }
          a.setCsr('satp', asid(second.satp, 3))
            .setCsr('satp', asid(first.satp, 1))
            .i(...load(a2));
        },
        { privilege: 1, csrs: { satp: asid(first.satp, 1) } },
      );
      machine.expectNoTrap();
      cached.push(walks(machine));
    }
    // The second run has nothing of the first one: PMP registers were written in between.
    assert.equal(cached[1]! - cached[0]!, cached[0]!);
  });

  test('global pages survive a fence of their address space, others do not', () => {
    for (const [flags, more] of [
      [GLOBAL, 0],
      [RWX, 1],
    ] as const) {
      const { machine, first } = twoSpaces(flags);
      let before = 0;
      machine.execute((a) => a.li(a0, HERE).i(...load(a1)), { privilege: 1, csrs: { satp: asid(first.satp, 1) } });
      before = walks(machine);
      machine.load(CODE, (a) =>
        a
          .li(t0, 1)
          .i('sfence.vma', { rs2: t0 })
          .i(...load(a1))
          .i('wfi'),
      );
      machine.hart.pc = BigInt(CODE);
      machine.run();
      machine.expectNoTrap();
      assert.equal(walks(machine) - before, more);
    }
  });

  test('what a pointer to a table says to be global is global', () => {
    const { machine, first, second } = twoSpaces();
    // The root entry above HERE.
    machine.memory.writeU64(first.root, machine.memory.readU64(first.root) | BigInt(PTE.G));
    machine.execute(
      (a) =>
        a
          .li(a0, HERE)
          .i(...load(a1))
          .setCsr('satp', asid(second.satp, 2))
          .i(...load(a2)),
      { privilege: 1, csrs: { satp: asid(first.satp, 1) } },
    );
    machine.expectNoTrap();
    assert.deepEqual([machine.x(a1), machine.x(a2)], [1n, 1n]);
  });

  test('numbers of address spaces that come to their end do not bring old translations back', () => {
    const { machine, first, second } = twoSpaces();
    const number = (machine.guest.hartArea(0) + offset32('nextSpace')) >>> 2;
    const { i32 } = machine.machineMemory;
    for (const last of [0x7fff_fff8, 0x7fff_fffc, 0x7fff_fffe, 0x7fff_ffff]) {
      machine.execute(
        (a) => {
          a.li(a0, HERE).li(a3, 0);
          for (let i = 0; i < 6; i++) {
            a.setCsr('satp', asid(second.satp, 2)).i(...load(t1));
            a.i('slli', { rd: a3, rs1: a3, imm: 4 }).i('add', { rd: a3, rs1: a3, rs2: t1 });
            a.setCsr('satp', asid(first.satp, 1)).i(...load(t1));
            a.i('slli', { rd: a3, rs1: a3, imm: 4 }).i('add', { rd: a3, rs1: a3, rs2: t1 });
            if (i % 2 === 0) a.li(t0, 1).i('sfence.vma', { rs2: t0 });
            else a.i('sfence.vma');
          }
          a.i('wfi');
        },
        { privilege: 1, csrs: { satp: asid(first.satp, 1) } },
      );
      machine.expectNoTrap();
      assert.equal(machine.x(a3), 0x21_2121_2121_21n);
      i32[number] = last;
      machine.hart.pc = BigInt(CODE);
      machine.run();
      machine.expectNoTrap();
      assert.equal(machine.x(a3), 0x21_2121_2121_21n);
      assert.ok(i32[number]! < 100 && i32[number]! > 0, `the next number is ${i32[number]}`);
    }
  });
});
