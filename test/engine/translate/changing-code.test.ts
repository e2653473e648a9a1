/** Code that is made, changed and made again, by the hart that runs it and by others, while it runs translated. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CHUNK, EXIT, offset32 } from '../../../src/engine/state.ts';
import { encode } from '../../../src/isa/encode.ts';
import { type Assembler, R } from '../assembler.ts';
import { BareMachine, CODE, DATA, PageTables, RAM, RWX } from '../bare-machine.ts';
import { addN } from '../patching.ts';
import { TIERS, type Tier } from '../tiers.ts';

const { ra, a0, a1, a2, a3, a4, a5, t0, t1 } = R;
const PAGE = RAM + 0x4000;
const DEVICE = 0x1000_0000;

/** Ends a loop that a5 counts down. */
const again = (a: Assembler, label = 'loop'): Assembler =>
  a.i('addi', { rd: a5, rs1: a5, imm: -1 }).to('bne', label, { rs1: a5 });

function translated(machine: BareMachine, tier: Tier, least: number): void {
  if (tier === 'translator') assert.ok(machine.hart.field('translatedInstructions') >= BigInt(least));
}

for (const tier of TIERS) {
  describe(`code that changes (${tier})`, () => {
    test('a loop that fills memory comes to its own first instruction', () => {
      const rounds = 300;
      const start = PAGE + 0x1000 - 400;
      const at = PAGE + 0x1040;
      const machine = new BareMachine({ tier });
      machine.load(at, (a) => {
        a.label('loop').i('sw', { rs1: a0, rs2: a1 }).i('addi', { rd: a0, rs1: a0, imm: 4 });
        again(a).i('jalr', { rs1: ra });
      });
      machine.execute((a) =>
        a.li(a0, start).li(a1, addN(3)).li(a2, 0).li(a5, rounds).li(t0, at).i('jalr', { rd: ra, rs1: t0 }),
      );
      machine.expectNoTrap();
      const stores = (at - start) / 4 + 1;
      assert.equal(machine.x(a0), BigInt(start + rounds * 4));
      assert.equal(machine.x(a2), BigInt(3 * (rounds - stores)));
      translated(machine, tier, rounds);
    });

    test('a jump in a loop leads elsewhere from time to time, and a branch becomes its opposite', () => {
      const machine = new BareMachine({ tier });
      const [one, ten] = [CODE + 0x400, CODE + 0x440];
      // Both cases go back to the instruction behind the jump.
      machine.load(CODE, (a) => {
        a.li(a2, 0)
          .li(a5, 256)
          .li(a0, CODE + 0x100)
          .jump('loop');
        a.nops((0x100 - a.length) / 4);
        a.label('loop').i('jal', { rd: 0, imm: one - CODE - 0x100 });
        a.label('behind').i('andi', { rd: t0, rs1: a5, imm: 32 });
        // 0: one is where it leads to; not 0: ten.
        const [toOne, toTen] = [one, ten].map((target) => encode('jal', { rd: 0, imm: target - CODE - 0x100 }));
        a.li(a1, toOne!).to('beq', 'chosen', { rs1: t0 }).li(a1, toTen!).label('chosen').i('sw', { rs1: a0, rs2: a1 });
        again(a).i('wfi');
      });
      for (const [at, n] of [
        [one, 1],
        [ten, 10],
      ] as const) {
        machine.load(at, (a) => a.word(addN(n)).i('jal', { rd: 0, imm: CODE + 0x104 - at - 4 }));
      }
      machine.boot();
      machine.run();
      machine.expectNoTrap();
      let sum = 1;
      for (let round = 256; round > 1; round--) sum += (round & 32) === 0 ? 1 : 10;
      assert.equal(machine.x(a2), BigInt(sum));
      translated(machine, tier, 256);
    });

    test('a branch of a loop becomes its opposite', () => {
      const machine = new BareMachine({ tier });
      const distance = 0x10;
      const [beq, bne] = ['beq', 'bne'].map((name) => encode(name, { rs1: a4, imm: distance }));
      machine.load(CODE, (a) => {
        a.li(a2, 0)
          .li(a3, 0)
          .li(a4, 0)
          .li(a5, 512)
          .li(a0, CODE + 0x100)
          .jump('loop');
        a.nops((0x100 - a.length) / 4);
        a.label('loop').word(bne!).word(addN(1)).nops(2);
        a.i('addi', { rd: a3, rs1: a3, imm: 1 }).i('andi', { rd: t0, rs1: a5, imm: 63 }).to('bne', 'same', { rs1: t0 });
        // The two differ in one bit.
        a.i('lw', { rd: a1, rs1: a0 })
          .li(t0, beq! ^ bne!)
          .i('xor', { rd: a1, rs1: a1, rs2: t0 });
        a.i('sw', { rs1: a0, rs2: a1 }).label('same');
        again(a).i('wfi');
      });
      machine.boot();
      machine.run();
      machine.expectNoTrap();
      // From round 512 on it is changed at each multiple of 64.
      let taken = false;
      let sum = 0;
      for (let round = 512; round > 0; round--) {
        if (!taken) sum++;
        if (round % 64 === 0) taken = !taken;
      }
      assert.deepEqual([machine.x(a2), machine.x(a3)], [BigInt(sum), 512n]);
      translated(machine, tier, 512);
    });

    test('functions that are made, called some times, and made again at the same place', () => {
      const cycles = 200;
      const machine = new BareMachine({ tier, seed: 7 });
      machine.execute((a) => {
        a.li(a2, 0).li(a5, cycles).label('cycle');
        // addi a2, a2, n, a hundred times; then the way back.
        a.li(a1, addN(0)).i('slli', { rd: t0, rs1: a5, imm: 20 }).i('add', { rd: a1, rs1: a1, rs2: t0 });
        a.li(a0, PAGE)
          .li(a3, PAGE + 400)
          .label('make')
          .i('sw', { rs1: a0, rs2: a1 })
          .i('addi', { rd: a0, rs1: a0, imm: 4 });
        a.to('bne', 'make', { rs1: a0, rs2: a3 })
          .li(a1, encode('jalr', { rs1: ra }))
          .i('sw', { rs1: a0, rs2: a1 });
        a.i('fence.i').li(a4, 5).label('call').li(a0, PAGE).i('jalr', { rd: ra, rs1: a0 });
        a.i('addi', { rd: a4, rs1: a4, imm: -1 }).to('bne', 'call', { rs1: a4 });
        again(a, 'cycle');
      });
      machine.expectNoTrap();
      assert.equal(machine.x(a2), BigInt((500 * cycles * (cycles + 1)) / 2));
      translated(machine, tier, cycles * 200);
    });

    for (const [name, distance] of [
      ['in its block', 0x200],
      ['in another block', 0x700],
    ] as const) {
      test(`a function that counts in a variable on its own page, ${name}`, () => {
        const calls = 3000;
        const machine = new BareMachine({ tier });
        machine.load(PAGE, (a) => {
          a.i('auipc', { rd: t0 }).i('ld', { rd: t1, rs1: t0, imm: distance });
          a.i('addi', { rd: t1, rs1: t1, imm: 1 }).i('sd', { rs1: t0, rs2: t1, imm: distance }).i('jalr', { rs1: ra });
        });
        machine.execute((a) => {
          a.li(a5, calls).li(a0, PAGE).label('loop').i('jalr', { rd: ra, rs1: a0 });
          again(a);
        });
        machine.expectNoTrap();
        assert.equal(machine.memory.readU64(PAGE + distance), BigInt(calls));
      });
    }

    test('through other addresses of the same frame', () => {
      const views = 8;
      const machine = new BareMachine({ tier });
      const tables = new PageTables(machine);
      for (let page = 0; page < 8; page++) tables.map(RAM + page * 4096, RAM + page * 4096, RWX);
      const view = (n: number): number => 0x4000_0000 + n * 0x1000 * 37;
      for (let n = 0; n < views; n++) tables.map(view(n), PAGE, RWX);
      machine.load(PAGE, (a) => {
        a.label('loop').word(addN(0)).i('addi', { rd: t1, rs1: t1, imm: -1 }).to('bne', 'loop', { rs1: t1 });
        a.i('jalr', { rs1: ra });
      });
      const rounds = 200;
      machine.execute(
        (a) => {
          a.li(a2, 0).li(a5, rounds).label('loop');
          // One of the addresses is written to, then a function is called at all of them.
          a.i('andi', { rd: t0, rs1: a5, imm: views - 1 })
            .li(t1, 0x1000 * 37)
            .i('mul', { rd: t0, rs1: t0, rs2: t1 });
          a.li(a0, view(0)).i('add', { rd: a0, rs1: a0, rs2: t0 });
          a.i('slli', { rd: a1, rs1: a5, imm: 20 }).li(t0, addN(0)).i('add', { rd: a1, rs1: a1, rs2: t0 });
          a.i('sw', { rs1: a0, rs2: a1 });
          for (let n = 0; n < views; n++) a.li(t1, 4).li(t0, view(n)).i('jalr', { rd: ra, rs1: t0 });
          again(a);
        },
        { privilege: 1, csrs: { satp: tables.satp } },
      );
      machine.expectNoTrap();
      assert.equal(machine.x(a2), BigInt((4 * views * rounds * (rounds + 1)) / 2));
      translated(machine, tier, rounds * 10);
    });
  });

  describe(`code that devices and other harts change (${tier})`, () => {
    for (const [name, where] of [
      ['on its page', CODE + 0x800],
      ['on another page', PAGE],
    ] as const) {
      for (const access of ['sw', 'lw'] as const) {
        test(`a loop accesses a device (${access}), which writes to a function ${name}`, () => {
          let writes = 0;
          const patch = (): void => {
            const word = new Uint8Array(4);
            new DataView(word.buffer).setUint32(0, addN(++writes % 100), true);
            machine.memory.write(where, word);
          };
          const machine: BareMachine = new BareMachine({
            tier,
            environment: {
              deviceRead: () => {
                patch();
                return 0n;
              },
              deviceWrite: () => {
                patch();
                return true;
              },
            },
          });
          const rounds = 250;
          machine.load(where, (a) => a.word(addN(0)).nops(2).i('jalr', { rs1: ra }));
          machine.execute((a) => {
            a.li(a2, 0).li(a5, rounds).li(a0, DEVICE).li(a3, where).label('loop').i('jalr', { rd: ra, rs1: a3 });
            if (access === 'sw') a.i('sw', { rs1: a0 });
            else a.i('lw', { rd: t0, rs1: a0 });
            again(a);
          });
          machine.expectNoTrap();
          let sum = 0;
          for (let round = 0; round < rounds; round++) sum += round % 100;
          assert.equal(machine.x(a2), BigInt(sum));
        });
      }
    }

    test('memory is written while the hart does not run, in the middle of a loop', () => {
      const machine = new BareMachine({ tier });
      machine.load(CODE, (a) => {
        a.label('loop').word(addN(1)).i('addi', { rd: a3, rs1: a3, imm: 1 }).jump('loop');
      });
      machine.hart.resetMachineMode(BigInt(CODE));
      for (let n = 2; n < 20; n++) {
        const [sum, rounds] = [machine.x(a2), machine.x(a3)];
        machine.run(EXIT.budget, 1);
        assert.equal(machine.x(a2) - sum, BigInt(n - 1) * (machine.x(a3) - rounds));
        machine.load(CODE, (a) => a.word(addN(n)));
      }
      translated(machine, tier, 10 * CHUNK);
    });

    for (const fence of ['of its own', 'that the other one asks for'] as const) {
      test(`another hart changes a loop; the one that runs it sees it behind a fence ${fence}`, () => {
        const machine = new BareMachine({ tier, harts: 2 });
        const other = machine.sibling(1);
        const STORE = PAGE + 0x1000;
        machine.load(PAGE, (a) => {
          a.label('loop').word(addN(1)).i('addi', { rd: a3, rs1: a3, imm: 1 });
          if (fence === 'of its own') a.i('fence.i');
          a.jump('loop');
        });
        machine.load(STORE, (a) => a.i('sw', { rs1: a0, rs2: a1 }).i('fence').i('wfi'));
        machine.hart.resetMachineMode(BigInt(PAGE));
        for (let n = 2; n < 30; n++) {
          const [sum, rounds] = [machine.x(a2), machine.x(a3)];
          machine.run(EXIT.budget, 1);
          const seen = machine.x(a3) - rounds;
          assert.equal(machine.x(a2) - sum, BigInt(n - 1) * seen);
          machine.control.park();
          other.hart.setX(a0, BigInt(PAGE));
          other.hart.setX(a1, BigInt(addN(n)));
          other.run(STORE);
          machine.control.unpark();
          if (fence !== 'of its own') machine.hart.flush();
          // What is executed before the fence may be either.
          else machine.hart.pc = BigInt(PAGE + 8);
        }
        translated(machine, tier, CHUNK);
      });
    }
  });
}

test('a region is not entered at a page of data that was one of code, and becomes one again', () => {
  const machine = new BareMachine({ tier: 'translator' });
  const call = (at: number): void => {
    machine.execute((a) => {
      a.li(a2, 0).li(a5, 20).li(a0, at).label('loop').i('jalr', { rd: ra, rs1: a0 });
      again(a);
    });
    machine.expectNoTrap();
  };
  const page = (PAGE - RAM) / 4096;
  for (let n = 1; n < 30; n++) {
    // Another page of the guest gets the frame, and then this one gets it again, with code that looks the same up to one bit.
    machine.load(PAGE, (a) => a.word(addN(n)).nops(4).i('jalr', { rs1: ra }));
    const frame = machine.frameOf(PAGE);
    call(PAGE);
    assert.equal(machine.x(a2), BigInt(20 * n));
    machine.memory.discard(page, 1);
    machine.memory.write(DATA, new Uint8Array(4096).fill(n));
    assert.equal(machine.frameOf(DATA), frame);
    machine.memory.discard((DATA - RAM) / 4096, 1);
  }
  translated(machine, 'translator', 29 * 60);
});

test('what a region left to the interpreter, whose own translation was given up, is not taken for what lies across two pages', () => {
  const threshold = 5;
  const machine = new BareMachine({ threshold, environment: { deviceRead: () => 5n } });
  const load = encode('ld', { rd: t0, rs1: a0 });
  const run = (pc: number, address: number): void => {
    machine.hart.setX(a0, BigInt(address));
    machine.hart.setX(a5, 1n);
    machine.hart.pc = BigInt(pc);
    machine.run();
    machine.expectNoTrap();
  };
  // The first jump to CODE.
  machine.execute((a) => a.li(a2, 0));
  machine.load(CODE, (a) => again(a.label('loop').word(addN(1)).word(load)).i('wfi'));
  for (let n = 0; n < 10; n++) run(CODE + 4, DATA);
  for (let n = 2; n < threshold; n++) run(CODE, DATA);
  // The translation of what begins with the load goes, as there is a store beside it; its slot stays.
  machine.load(CODE + 0x200, new Uint8Array(4));
  const { hotPlaces, interpretExits, refusedEntries } = machine.counters;
  run(CODE, DEVICE);
  assert.equal(machine.counters.hotPlaces, hotPlaces + 1);
  assert.ok(machine.counters.interpretExits > interpretExits);
  assert.equal(machine.counters.refusedEntries, refusedEntries);
  // Otherwise the hart would look for the instruction for ever.
  const crossing = machine.machineMemory.i32[(machine.guest.hartArea(0) + offset32('crossingBits')) >>> 2]! >>> 0;
  assert.notEqual(crossing, load);
  machine.load(PAGE - 2, (a) => a.word(load).i('wfi'));
  machine.memory.writeU64(DATA, 77n);
  run(PAGE - 2, DATA);
  assert.equal(machine.x(t0), 77n);
});
