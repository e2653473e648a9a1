import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MORE_BLOCKS } from '../../src/engine/state.ts';
import { moreBlocks } from '../../src/machine/engine.ts';
import { freeGuest } from '../../src/memory/guest.ts';
import {
  FRAME_CODE,
  FRAME_GENERATION_SHIFT,
  FRAME_INFO,
  FRAME_WORDS,
  HEADER_HEAP_FREE,
} from '../../src/memory/layout.ts';
import { GUEST_CODE_CHANGES, GUEST_OVERHEAD } from '../../src/memory/layout-guest.ts';
import { R } from './assembler.ts';
import { BareMachine, CODE, DATA, RAM } from './bare-machine.ts';
import { addN, sum } from './patching.ts';

const { a0, a1, a2, a3, a4, a5, ra, t0 } = R;

describe('code that others change', () => {
  test('a device writes to the page that is executed', () => {
    const machine: BareMachine = new BareMachine({
      environment: {
        deviceWrite: (_address, _bytes, value) => {
          const word = new Uint8Array(4);
          new DataView(word.buffer).setUint32(0, Number(value), true);
          machine.memory.write(CODE + 0x100, word);
          return true;
        },
      },
    });
    machine.load(CODE, (a) => {
      a.li(a2, 0).li(a4, 0x1000_0000).jump('patched');
      a.nops((0x100 - a.length) / 4);
      a.label('patched').word(addN(1));
      a.li(a1, addN(100)).to('bne', 'out', { rs1: a3 });
      a.li(a3, 1).i('sw', { rs1: a4, rs2: a1 }).jump('patched');
      a.label('out').i('wfi');
      assert.equal(a.offset('patched'), 0x100);
    });
    machine.boot();
    machine.hart.setX(a3, 0n);
    machine.run();
    machine.expectNoTrap();
    assert.equal(machine.x(a2), 101n);
  });

  test('memory is written while the hart waits', () => {
    const machine = new BareMachine();
    machine.execute((a) => a.word(addN(1)));
    const before = machine.x(a2);
    machine.execute((a) => a.word(addN(7)));
    assert.equal(machine.x(a2), before + 7n);
  });

  test('a frame that holds another page now', () => {
    const machine = new BareMachine();
    const [first, second] = [DATA, DATA + 0x1000];
    machine.load(first, (a) => a.word(addN(1)).i('jalr', { rs1: ra }));
    const frame = machine.frameOf(first);
    const call = (at: number) => sum((a) => a.li(a0, at).i('jalr', { rd: ra, rs1: a0 }), machine);
    assert.equal(call(first), 1n);
    machine.memory.discard((first - RAM) / 4096, 1);
    machine.load(second, (a) => a.word(addN(100)).i('jalr', { rs1: ra }));
    assert.equal(machine.frameOf(second), frame, 'the frame that was freed last is used next');
    assert.equal(call(second), 100n);
  });

  test('a frame that holds another page now, of which somebody else has decoded code', () => {
    const machine = new BareMachine();
    const [first, second] = [DATA, DATA + 0x1000];
    machine.load(first, (a) => a.word(addN(1)).i('jalr', { rs1: ra }));
    const frame = machine.frameOf(first);
    const call = (at: number) => sum((a) => a.li(a0, at).i('jalr', { rd: ra, rs1: a0 }), machine);
    assert.equal(call(first), 1n);
    machine.memory.discard((first - RAM) / 4096, 1);
    machine.load(second, (a) => a.word(addN(100)).i('jalr', { rs1: ra }));
    assert.equal(machine.frameOf(second), frame);
    // As another hart does when it executes from the frame; then this one stores elsewhere in the page.
    const { i32, frameTable } = machine.machineMemory;
    Atomics.or(i32, frameTable + frame * FRAME_WORDS + FRAME_INFO, FRAME_CODE);
    sum((a) => a.li(a0, second).i('sw', { rs1: a0, imm: 512 }), machine);
    assert.equal(call(second), 100n);
  });

  test('fence.i: another hart has stored to the page that is executed', () => {
    let writes = 0;
    const machine: BareMachine = new BareMachine({
      harts: 2,
      environment: {
        deviceWrite: (_address, _bytes, value) => {
          // Only when all instructions of the loop have been decoded.
          if (++writes < 3) return true;
          // What the other hart does: it announces the store to everybody by the frame's generation, and counts it.
          const { i32, frameTable } = machine.machineMemory;
          const frame = machine.frameOf(CODE);
          i32[frame * 1024 + 0x100 / 4] = Number(value);
          Atomics.add(i32, frameTable + frame * FRAME_WORDS + FRAME_INFO, 1 << FRAME_GENERATION_SHIFT);
          machine.guest.add(GUEST_CODE_CHANGES, 1);
          return true;
        },
      },
    });
    machine.load(CODE, (a) => {
      a.li(a2, 0).li(a3, 0).li(a4, 0x1000_0000).li(a1, addN(100)).jump('patched');
      a.nops((0x100 - a.length) / 4);
      a.label('patched').word(addN(1)).li(t0, 3).to('beq', 'out', { rs1: a3, rs2: t0 });
      a.i('addi', { rd: a3, rs1: a3, imm: 1 }).i('sw', { rs1: a4, rs2: a1 }).i('fence.i').jump('patched');
      a.label('out').i('wfi');
      assert.equal(a.offset('patched'), 0x100);
    });
    machine.boot();
    machine.run();
    machine.expectNoTrap();
    assert.equal(machine.x(a2), 103n);
  });

  test('the page of zeros is no code', () => {
    const machine = new BareMachine();
    machine.execute((a) => a.li(a0, DATA).i('jalr', { rs1: a0 }));
    machine.expectTrap(2, DATA, 0);
    machine.load(DATA, (a) => a.word(addN(1)).i('wfi'));
    machine.execute((a) => a.li(a2, 1).li(a0, DATA).i('jalr', { rs1: a0 }));
    machine.expectNoTrap();
    assert.equal(machine.x(a2), 2n);
  });
});

describe('few decoded pages', () => {
  test('a walk over more pages than can be decoded, again and again', () => {
    const machine = new BareMachine({ decodedBlocks: 4 });
    const pages = 12;
    for (let page = 0; page < pages; page++) {
      const isLast = page === pages - 1;
      machine.load(DATA + page * 4096, (a) => {
        a.word(addN(1 << (page % 8)));
        if (isLast) a.i('jalr', { rs1: ra });
        else a.i('lui', { rd: a1, imm: 4096 }).i('add', { rd: a0, rs1: a0, rs2: a1 }).i('jalr', { rs1: a0 });
      });
    }
    machine.execute((a) => {
      a.li(a2, 0).li(a5, 50).label('again').li(a0, DATA).i('jalr', { rd: ra, rs1: a0 });
      a.i('addi', { rd: a5, rs1: a5, imm: -1 }).to('bne', 'again', { rs1: a5 });
    });
    machine.expectNoTrap();
    assert.equal(machine.x(a2), BigInt(50 * (255 + 15)));
  });

  test('a page that was decoded, pushed out, written and executed again', () => {
    const machine = new BareMachine({ decodedBlocks: 4 });
    for (let page = 0; page < 8; page++) {
      machine.load(DATA + page * 4096, (a) => a.word(addN(1)).i('jalr', { rs1: ra }));
    }
    machine.execute((a) => {
      a.li(a2, 0).li(a5, 1).label('again').li(a0, DATA).li(a4, 8).label('pages');
      a.li(a1, addN(0)).i('slli', { rd: a3, rs1: a5, imm: 20 }).i('add', { rd: a1, rs1: a1, rs2: a3 });
      a.i('sw', { rs1: a0, rs2: a1 }).i('jalr', { rd: ra, rs1: a0 });
      a.i('lui', { rd: a1, imm: 4096 }).i('add', { rd: a0, rs1: a0, rs2: a1 });
      a.i('addi', { rd: a4, rs1: a4, imm: -1 }).to('bne', 'pages', { rs1: a4 });
      a.i('addi', { rd: a5, rs1: a5, imm: 1 }).li(a3, 21).to('bne', 'again', { rs1: a5, rs2: a3 });
    });
    machine.expectNoTrap();
    assert.equal(machine.x(a2), BigInt((8 * 20 * 21) / 2));
  });
});

describe('room for more decoded blocks', () => {
  const pages = MORE_BLOCKS + 60;
  /** A machine that has executed a line of code on each of so many pages, twice. */
  function walked(machine: BareMachine, count = pages, start = DATA): void {
    for (let page = 0; page < count; page++) {
      machine.load(start + page * 4096, (a) => a.word(addN(1)).i('jalr', { rs1: ra }));
    }
    machine.execute((a) => {
      a.li(a2, 0).li(a5, 2).label('again').li(a0, start).li(a4, count).label('pages');
      a.i('jalr', { rd: ra, rs1: a0 }).i('lui', { rd: a1, imm: 4096 }).i('add', { rd: a0, rs1: a0, rs2: a1 });
      a.i('addi', { rd: a4, rs1: a4, imm: -1 }).to('bne', 'pages', { rs1: a4 });
      a.i('addi', { rd: a5, rs1: a5, imm: -1 }).to('bne', 'again', { rs1: a5 });
    });
    machine.expectNoTrap();
    assert.equal(machine.x(a2), BigInt(2 * count));
  }
  const free = (machine: BareMachine): number => machine.machineMemory.i32[HEADER_HEAP_FREE]!;

  test('is taken for much code, given back, and taken again', () => {
    let taken = 0;
    const machine: BareMachine = new BareMachine({
      pages: 512,
      decodedBlocks: 4,
      moreBlocks(guest) {
        const more = moreBlocks(guest, 0);
        return {
          most: 3,
          take() {
            taken++;
            return more.take();
          },
          giveAll: () => more.giveAll(),
        };
      },
    });
    const [before, overhead] = [free(machine), machine.guest.get(GUEST_OVERHEAD)];
    walked(machine);
    assert.equal(taken, 2);
    assert.ok(free(machine) < before);
    assert.equal(machine.guest.get(GUEST_OVERHEAD), overhead + before - free(machine));
    machine.hart.shrink();
    assert.equal(free(machine), before);
    assert.equal(machine.guest.get(GUEST_OVERHEAD), overhead);
    // A hart that waits executes little, which has the room of what it executed before.
    walked(machine, 2, DATA + 100 * 4096);
    assert.equal(taken, 2);
    // What is there now would be executed if anything still led there.
    const other = machine.machineMemory;
    other.u8.fill(
      0xee,
      other.heapBase + other.heapPages * 4096 - before * 4096,
      other.heapBase + other.heapPages * 4096,
    );
    walked(machine);
    assert.equal(taken, 4);
    machine.machineMemory.lock();
    freeGuest(machine.guest);
    machine.machineMemory.unlock();
    assert.ok(free(machine) > before, 'the pieces of a guest that is gone are free');
  });

  test('is done without where the heap has none', () => {
    const machine = new BareMachine({
      pages: 512,
      decodedBlocks: 4,
      moreBlocks: () => ({ most: 3, take: () => undefined, giveAll: () => assert.fail() }),
    });
    walked(machine);
    machine.hart.shrink();
    walked(machine);
  });
});
