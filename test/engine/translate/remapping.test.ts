/** Page tables that change under translated code: what it executes, and what it reads and writes. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Assembler, R } from '../assembler.ts';
import { type BareMachine, CODE, DATA, type PageTables, PTE, RAM, RWX, TRAP } from '../bare-machine.ts';
import { addN } from '../patching.ts';
import { dataMode, load, MPP_S, MPP_U, MXR, paged, SUM } from '../supervisor.ts';
import { TIERS, type Tier } from '../tiers.ts';

const { ra, a0, a1, a2, a3, a4, a5, a6, t0, t1, s0, s1 } = R;
const GLOBAL = RWX | PTE.G;

/** Two pages in a row on which a function lies, and the frames that they may be mapped to. */
const FIRST = 0x10_0000;
const SECOND = FIRST + 0x1000;
const FRAMES = [0, 1, 2, 3].map((n) => DATA + n * 0x1000);
/** Where the page with the entries of both is seen. */
const WINDOW = 0x5000_0000;
const ROUNDS = 160;
/** In every so many rounds a page is mapped elsewhere. */
const EVERY = 8;
const ASID = 3;

const pte = (gpa: number, flags: number): bigint => (BigInt(gpa / 4096) << 10n) | BigInt(flags);

function translated(machine: BareMachine, tier: Tier, least: number): void {
  const count = machine.hart.field('translatedInstructions');
  if (tier === 'translator') assert.ok(count >= BigInt(least), `only ${count} instructions were translated`);
}

/** Ends a loop that a5 counts down. */
const again = (a: Assembler, label = 'loop'): Assembler =>
  a.i('addi', { rd: a5, rs1: a5, imm: -1 }).to('bne', label, { rs1: a5 });

/** Seen: a window to the table of FIRST. Gives the address of an entry as the guest sees it. */
function windowTo(tables: PageTables, entry: number): number {
  const table = entry - (entry % 4096);
  tables.map(WINDOW, table, GLOBAL);
  return WINDOW + (entry - table);
}

type Fence = (a: Assembler, page: number) => void;

const FENCES: Record<string, Fence> = {
  all: (a) => a.i('sfence.vma'),
  'its address': (a, page) => a.li(t0, page + 0x123).i('sfence.vma', { rs1: t0 }),
  'its address space': (a) => a.li(t0, ASID).i('sfence.vma', { rs2: t0 }),
  'its address in its address space': (a, page) => a.li(t0, page).li(t1, ASID).i('sfence.vma', { rs1: t0, rs2: t1 }),
};

for (const tier of TIERS) {
  describe(`a function on two pages, of which one is mapped elsewhere from time to time (${tier})`, () => {
    for (const [name, fence] of Object.entries(FENCES)) {
      for (const which of [FIRST, SECOND]) {
        for (const flags of [RWX, GLOBAL]) {
          // A fence by address space leaves global pages alone.
          if (flags === GLOBAL && name.endsWith('space')) continue;
          const page = `${flags === GLOBAL ? 'global ' : ''}${which === FIRST ? 'first' : 'second'}`;
          test(`the ${page} page, with a fence for ${name}`, () => {
            const { machine, tables } = paged(3, { tier });
            tables.map(FIRST, FRAMES[0]!, flags);
            const second = tables.map(SECOND, FRAMES[1]!, flags);
            const first = second - 8;
            // The function begins near the end of the first page and returns on the second one.
            for (const [n, frame] of FRAMES.entries()) {
              machine.load(frame + 0xff8, (a) => a.word(addN(1 << n)).nops(1));
              machine.load(frame, (a) => a.word(addN(16 << n)).i('jalr', { rs1: ra }));
            }
            const entry = windowTo(tables, which === FIRST ? first : second);
            const [old, other] = which === FIRST ? [FRAMES[0]!, FRAMES[2]!] : [FRAMES[1]!, FRAMES[3]!];
            machine.execute(
              (a) => {
                a.li(a2, 0)
                  .li(a5, ROUNDS)
                  .li(a0, FIRST + 0xff8)
                  .li(a1, entry);
                a.li(s0, pte(old, flags)).li(s1, pte(other, flags)).label('loop').i('jalr', { rd: ra, rs1: a0 });
                a.i('andi', { rd: t0, rs1: a5, imm: EVERY - 1 }).to('bne', 'same', { rs1: t0 });
                a.i('sd', { rs1: a1, rs2: s1 }).i('addi', { rd: t0, rs1: s0 }).i('addi', { rd: s0, rs1: s1 });
                a.i('addi', { rd: s1, rs1: t0 });
                fence(a, which);
                a.label('same');
                again(a);
              },
              { privilege: 1, csrs: { satp: tables.satp | (BigInt(ASID) << 44n) } },
            );
            machine.expectNoTrap();
            // Rounds with the old frame behind the page, and with the other one.
            let others = 0;
            for (let round = ROUNDS, isOther = false; round > 0; round--) {
              if (isOther) others++;
              if (round % EVERY === 0) isOther = !isOther;
            }
            const [a, b, c, d] = which === FIRST ? [1, 32, 4, 32] : [1, 32, 1, 128];
            assert.equal(machine.x(a2), BigInt((ROUNDS - others) * (a + b) + others * (c + d)));
            translated(machine, tier, ROUNDS * 4);
          });
        }
      }
    }

    test('without a fence: until there is one, it is one of the two', () => {
      const { machine, tables } = paged(3, { tier });
      tables.map(FIRST, FRAMES[0]!, RWX);
      const entry = tables.map(SECOND, FRAMES[1]!, RWX);
      machine.load(FRAMES[0]! + 0xffc, (a) => a.word(addN(1)));
      machine.load(FRAMES[1]!, (a) => a.word(addN(2)).i('jalr', { rs1: ra }));
      machine.load(FRAMES[2]!, (a) => a.word(addN(1000)).i('jalr', { rs1: ra }));
      machine.execute(
        (a) => {
          a.li(a2, 0)
            .li(a5, 50)
            .li(a0, FIRST + 0xffc)
            .label('loop')
            .i('jalr', { rd: ra, rs1: a0 });
          again(a).li(a1, windowTo(tables, entry)).li(t0, pte(FRAMES[2]!, RWX)).i('sd', { rs1: a1, rs2: t0 });
          a.i('addi', { rd: a3, rs1: a2 }).li(a2, 0).li(a5, 50).label('either').i('jalr', { rd: ra, rs1: a0 });
          again(a, 'either').i('sfence.vma').i('addi', { rd: a4, rs1: a2 }).li(a2, 0).li(a5, 50);
          a.label('new').i('jalr', { rd: ra, rs1: a0 });
          again(a, 'new');
        },
        { privilege: 1, csrs: { satp: tables.satp } },
      );
      machine.expectNoTrap();
      const either = machine.x(a4);
      assert.equal(machine.x(a3), 150n);
      assert.ok(either >= 150n && either <= 50n * 1001n && (either - 150n) % 998n === 0n, `${either}`);
      assert.equal(machine.x(a2), 50n * 1001n);
    });

    test('the page is there no longer: the trap is taken where it has to be', () => {
      const { machine, tables } = paged(3, { tier });
      tables.map(FIRST, FRAMES[0]!, RWX);
      const entry = windowTo(tables, tables.map(SECOND, FRAMES[1]!, RWX));
      machine.load(FRAMES[0]! + 0xff8, (a) => a.word(addN(1)).word(addN(2)));
      machine.load(FRAMES[1]!, (a) => a.word(addN(4)).i('jalr', { rs1: ra }));
      machine.execute(
        (a) => {
          a.li(a2, 0)
            .li(a5, 50)
            .li(a0, FIRST + 0xff8)
            .label('loop')
            .i('jalr', { rd: ra, rs1: a0 });
          again(a).li(a1, entry).i('sd', { rs1: a1 }).i('sfence.vma').i('jalr', { rd: ra, rs1: a0 });
        },
        { privilege: 1, csrs: { satp: tables.satp } },
      );
      machine.expectTrap(12, SECOND, SECOND);
      assert.equal(machine.x(a2), 50n * 7n + 3n);
      translated(machine, tier, 150);
    });

    test('a large page becomes a small one of other code', () => {
      const { machine, tables } = paged(3, { tier });
      const large = 0x4000_0000;
      const entry = windowTo(tables, tables.map(large, RAM, RWX, 1));
      // A table of the third level that maps the one page to another frame.
      const table = machine.newTable();
      const at = (DATA - RAM) / 4096;
      machine.memory.writeU64(table + at * 8, pte(FRAMES[1]!, RWX));
      machine.load(FRAMES[0]!, (a) => a.word(addN(1)).i('jalr', { rs1: ra }));
      machine.load(FRAMES[1]!, (a) => a.word(addN(100)).i('jalr', { rs1: ra }));
      machine.execute(
        (a) => {
          a.li(a2, 0)
            .li(a5, 50)
            .li(a0, large + (DATA - RAM))
            .label('loop')
            .i('jalr', { rd: ra, rs1: a0 });
          again(a).li(a1, entry).li(t0, pte(table, PTE.V)).i('sd', { rs1: a1, rs2: t0 }).i('sfence.vma', { rs1: a0 });
          a.li(a5, 50).label('small').i('jalr', { rd: ra, rs1: a0 });
          again(a, 'small');
        },
        { privilege: 1, csrs: { satp: tables.satp } },
      );
      machine.expectNoTrap();
      assert.equal(machine.x(a2), 50n * 101n);
    });

    test('translation is turned off and on around a function', () => {
      const { machine, tables } = paged(3, { tier });
      // With translation another frame is seen at the function's address.
      tables.map(FRAMES[3]! + 0x4000, FRAMES[1]!, RWX);
      machine.load(FRAMES[3]! + 0x4000, (a) => a.word(addN(1)).nops(1).i('jalr', { rs1: ra }));
      machine.load(FRAMES[1]!, (a) => a.word(addN(100)).nops(1).i('jalr', { rs1: ra }));
      machine.execute(
        (a) => {
          a.li(a2, 0)
            .li(a5, 60)
            .li(a0, FRAMES[3]! + 0x4000)
            .li(s0, tables.satp)
            .label('loop');
          a.i('jalr', { rd: ra, rs1: a0 }).i('andi', { rd: t0, rs1: a5, imm: 3 }).to('bne', 'same', { rs1: t0 });
          a.csr('csrrw', s0, 'satp', s0).label('same');
          again(a);
        },
        { privilege: 1 },
      );
      machine.expectNoTrap();
      let sum = 0;
      for (let round = 60, on = false; round > 0; round--) {
        sum += on ? 100 : 1;
        if (round % 4 === 0) on = !on;
      }
      assert.equal(machine.x(a2), BigInt(sum));
      translated(machine, tier, 100);
    });
  });

  describe(`accesses of translated loops (${tier})`, () => {
    /** Counts traps in a4 and skips the instruction of 4 bytes; t0 and t1 are its own. */
    const skip = (a: Assembler): void => {
      a.i('addi', { rd: a4, rs1: a4, imm: 1 }).csr('csrrs', t0, 'mepc').i('addi', { rd: t0, rs1: t0, imm: 4 });
      a.csr('csrrw', 0, 'mepc', t0).i('mret');
    };

    for (const [name, bit, flags, allowed] of [
      ['SUM, a page of the user', SUM, RWX | PTE.U, true],
      ['MXR, a page of code', MXR, PTE.V | PTE.X | PTE.A, true],
      ['SUM, a page of the supervisor', SUM, RWX, false],
    ] as const) {
      for (const always of [false, true]) {
        test(`the supervisor toggles ${name}${always ? ', with a CSR access in each round' : ''}`, () => {
          const { machine, tables } = paged(3, { tier });
          tables.map(FIRST, FRAMES[0]!, flags);
          machine.memory.writeU64(FRAMES[0]!, 5n);
          machine.memory.writeU64(FRAMES[0]! + 8, 7n);
          machine.load(CODE, (a) => {
            a.li(a2, 0).li(a4, 0).li(a5, ROUNDS).li(a0, FIRST).li(s0, bit).li(a6, 0).label('loop').li(a3, 0);
            a.i('ld', { rd: a3, rs1: a0 }).i('add', { rd: a2, rs1: a2, rs2: a3 });
            a.i('andi', { rd: t1, rs1: a5, imm: 3 }).to('bne', 'same', { rs1: t1 });
            a.i('xori', { rd: a6, rs1: a6, imm: 1 }).to('beq', 'clear', { rs1: a6 });
            a.csr('csrrs', 0, 'sstatus', s0).jump('same').label('clear').csr('csrrc', 0, 'sstatus', s0);
            a.label('same').li(a3, 0).i('ld', { rd: a3, rs1: a0, imm: 8 }).i('add', { rd: a2, rs1: a2, rs2: a3 });
            if (always) a.csr('csrrs', 0, 'sscratch');
            again(a).i('wfi');
          });
          machine.boot({ privilege: 1, csrs: { satp: tables.satp } });
          machine.load(TRAP, skip);
          machine.run();
          let sum = 0;
          let traps = 0;
          for (let round = ROUNDS, on = false; round > 0; round--) {
            const may = (): boolean => on || !allowed;
            if (may()) sum += 5;
            else traps++;
            if (round % 4 === 0) on = !on;
            if (may()) sum += 7;
            else traps++;
          }
          assert.deepEqual([machine.x(a2), machine.x(a4)], [BigInt(sum), BigInt(traps)]);
          translated(machine, tier, ROUNDS * 4);
        });
      }
    }

    test('M-mode sees memory as other modes do, by turns', () => {
      const { machine, tables } = paged(3, { tier });
      tables.map(FIRST, FRAMES[0]!, RWX);
      tables.map(SECOND, FRAMES[1]!, RWX | PTE.U);
      machine.memory.writeU64(FRAMES[0]!, 1n);
      machine.memory.writeU64(FRAMES[1]!, 10n);
      machine.load(CODE, (a) => {
        a.li(a2, 0).li(a4, 0).li(a5, ROUNDS).li(a0, FIRST).li(a1, SECOND).label('loop');
        for (const mode of [MPP_S, MPP_U, MPP_S | SUM]) {
          dataMode(a, (1 << 17) | mode);
          for (const page of [a0, a1])
            a.li(a3, 0).i('ld', { rd: a3, rs1: page }).i('add', { rd: a2, rs1: a2, rs2: a3 });
        }
        dataMode(a, 3 << 11);
        again(a).i('wfi');
      });
      machine.boot({ csrs: { satp: tables.satp } });
      // MPRV does not change under the handler: its MPP is M. What it returns to has the mode of before.
      machine.load(TRAP, (a) => {
        a.i('addi', { rd: a4, rs1: a4, imm: 1 }).csr('csrrs', t0, 'mepc').i('addi', { rd: t0, rs1: t0, imm: 4 });
        a.i('jalr', { rs1: t0 });
      });
      machine.run();
      // S: its own page, not the user's. U: not the supervisor's, and then, as the trap has set MPP to M, no memory at all.
      // S with SUM: both.
      assert.deepEqual([machine.x(a2), machine.x(a4)], [BigInt(ROUNDS * 12), BigInt(ROUNDS * 3)]);
      translated(machine, tier, ROUNDS * 5);
    });

    test('a page of data is mapped elsewhere in each round, in the middle of a group of accesses', () => {
      const { machine, tables } = paged(3, { tier });
      const entry = windowTo(tables, tables.map(FIRST, FRAMES[0]!, RWX));
      for (const [n, frame] of FRAMES.slice(0, 2).entries()) {
        machine.memory.writeU64(frame, BigInt(1 + n));
        machine.memory.writeU64(frame + 8, BigInt(100 + 100 * n));
      }
      machine.execute(
        (a) => {
          a.li(a2, 0)
            .li(a5, ROUNDS)
            .li(a0, FIRST)
            .li(a1, entry)
            .li(s0, pte(FRAMES[0]!, RWX))
            .li(s1, pte(FRAMES[1]!, RWX));
          a.label('loop')
            .i(...load(t0))
            .i('add', { rd: a2, rs1: a2, rs2: t0 });
          a.i('sd', { rs1: a1, rs2: s1 }).i('sfence.vma', { rs1: a0 }).i('fence.i').i('pause');
          a.i('ld', { rd: t0, rs1: a0, imm: 8 }).i('add', { rd: a2, rs1: a2, rs2: t0 });
          a.i('addi', { rd: t0, rs1: s0 }).i('addi', { rd: s0, rs1: s1 }).i('addi', { rd: s1, rs1: t0 });
          again(a);
        },
        { privilege: 1, csrs: { satp: tables.satp } },
      );
      machine.expectNoTrap();
      // The first word of the old frame, and the second one of the new frame.
      assert.equal(machine.x(a2), BigInt((ROUNDS / 2) * (1 + 200 + 2 + 100)));
      translated(machine, tier, ROUNDS * 10);
      const exits = machine.hart.field('interpretExits');
      assert.ok(exits < 10n, `translated code was left ${exits} times`);
    });

    for (const [name, privilege, mstatus] of [
      ['in U-mode', 0, 0],
      ['with mstatus.TVM', 1, 1 << 20],
    ] as const) {
      test(`a fence of one page is illegal ${name}`, () => {
        const { machine, tables } = paged(3, { tier });
        const code = FIRST;
        tables.map(code, FRAMES[0]!, privilege === 0 ? RWX | PTE.U : RWX);
        machine.load(FRAMES[0]!, (a) => {
          a.li(a2, 0).li(a4, 0).li(a5, ROUNDS).li(a0, SECOND).label('loop').i('addi', { rd: a2, rs1: a2, imm: 1 });
          a.i('sfence.vma', { rs1: a0 });
          again(a).i('ecall');
        });
        machine.boot({ pc: code, privilege, csrs: { satp: tables.satp, mstatus } });
        // The environment call is the end; all else is skipped.
        machine.load(TRAP, (a) => {
          a.csr('csrrs', t0, 'mcause').i('addi', { rd: t0, rs1: t0, imm: -2 }).to('bne', 'end', { rs1: t0 });
          skip(a);
          a.label('end').i('wfi');
        });
        machine.run();
        assert.deepEqual([machine.x(a2), machine.x(a4)], [BigInt(ROUNDS), BigInt(ROUNDS)]);
        translated(machine, tier, ROUNDS);
      });
    }

    test('a page of data is mapped elsewhere, and write-protected, in the middle of a walk through it', () => {
      const { machine, tables } = paged(3, { tier });
      const entry = windowTo(tables, tables.map(FIRST, FRAMES[0]!, RWX));
      machine.load(CODE, (a) => {
        a.li(a4, 0).li(a5, 400).li(a0, FIRST).li(a1, entry).li(a6, 0).label('loop');
        a.i('sd', { rs1: a0, rs2: a5 }).i('addi', { rd: a0, rs1: a0, imm: 8 });
        a.i('andi', { rd: t1, rs1: a5, imm: 31 }).to('bne', 'same', { rs1: t1 });
        // Frames 0 to 3 by turns, the odd ones read-only.
        a.i('addi', { rd: a6, rs1: a6, imm: 1 }).i('andi', { rd: a6, rs1: a6, imm: 3 });
        a.i('slli', { rd: t0, rs1: a6, imm: 10 }).li(s0, pte(FRAMES[0]!, RWX)).i('add', { rd: s0, rs1: s0, rs2: t0 });
        a.i('andi', { rd: t0, rs1: a6, imm: 1 }).i('slli', { rd: t0, rs1: t0, imm: 2 });
        a.i('xor', { rd: s0, rs1: s0, rs2: t0 }).i('sd', { rs1: a1, rs2: s0 });
        a.li(t0, FIRST).i('sfence.vma', { rs1: t0 }).label('same');
        again(a).i('wfi');
      });
      machine.boot({ privilege: 1, csrs: { satp: tables.satp } });
      machine.load(TRAP, skip);
      machine.run();
      const wanted = FRAMES.map(() => new BigInt64Array(512));
      let traps = 0;
      for (let round = 400, at = 0, frame = 0; round > 0; round--, at++) {
        if (frame % 2 === 0) wanted[frame]![at] = BigInt(round);
        else traps++;
        if (round % 32 === 0) frame = (frame + 1) % 4;
      }
      assert.equal(machine.x(a4), BigInt(traps));
      for (const [n, frame] of FRAMES.entries()) {
        const words = new BigInt64Array(512);
        machine.memory.read(frame, new Uint8Array(words.buffer));
        assert.deepEqual(words, wanted[n]);
      }
      translated(machine, tier, 800);
    });

    test('the same loop in U-mode and in S-mode, at two addresses of one frame', () => {
      const { machine, tables } = paged(3, { tier });
      const [user, supervisor] = [0x20_0000, 0x30_0000];
      tables.map(user, FRAMES[0]!, RWX | PTE.U);
      tables.map(supervisor, FRAMES[0]!, RWX);
      tables.map(FIRST, FRAMES[1]!, RWX | PTE.U);
      const handler = RAM + 0x4000;
      // Adds up a page's words; the page is the user's. In the end both modes call the environment.
      machine.load(FRAMES[0]!, (a) => {
        a.li(a3, 64).label('loop').i('ld', { rd: t0, rs1: a0 }).i('add', { rd: a2, rs1: a2, rs2: t0 });
        a.i('addi', { rd: a0, rs1: a0, imm: 8 }).i('addi', { rd: a3, rs1: a3, imm: -1 }).to('bne', 'loop', { rs1: a3 });
        a.i('ecall');
      });
      const words = BigInt64Array.from({ length: 64 }, (_, n) => BigInt(n));
      machine.memory.write(FRAMES[1]!, new Uint8Array(words.buffer));
      // Calls of the user come to the supervisor, which runs the loop itself; its own call comes to M-mode.
      machine.load(handler, (a) => a.li(a0, FIRST).li(t0, supervisor).i('jalr', { rs1: t0 }));
      machine.load(CODE, (a) => a.li(a0, FIRST).li(t0, user).i('jalr', { rs1: t0 }));
      machine.boot({ pc: CODE, csrs: { satp: tables.satp, medeleg: 1 << 8, stvec: handler, mstatus: SUM } });
      machine.load(CODE, (a) => {
        a.li(a2, 0)
          .li(a5, 20)
          .label('round')
          .li(a0, FIRST)
          .li(t0, 3 << 11)
          .csr('csrrc', 0, 'mstatus', t0);
        a.li(t0, user).csr('csrrw', 0, 'mepc', t0).i('mret').label('back');
        again(a, 'round').i('wfi');
        // M-mode goes on behind the return.
        machine.load(TRAP, (b) => b.li(t0, CODE + a.offset('back')).i('jalr', { rs1: t0 }));
      });
      machine.run();
      assert.equal(machine.x(a5), 0n);
      assert.equal(machine.x(a2), BigInt(20 * 2 * ((63 * 64) / 2)));
      translated(machine, tier, 20 * 2 * 200);
    });
  });
}
