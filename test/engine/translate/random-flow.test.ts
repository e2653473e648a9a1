import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CHUNK, EXIT, offset32, offset64 } from '../../../src/engine/state.ts';
import { INTERRUPT } from '../../../src/isa/fields.ts';
import { Random } from '../../differential/random.ts';
import { assemble, R } from '../assembler.ts';
import { BareMachine, CODE, DATA, TRAP } from '../bare-machine.ts';
import { DATA_BYTES, randomFlow } from './random-flow.ts';

/** Programs of each test; more find more. */
const PROGRAMS = Number(process.env.BALLONET_RANDOM_PROGRAMS ?? 500);
const MOST = 1500;

/** A machine that runs one program after the other. */
class FlowMachine {
  readonly machine: BareMachine;
  readonly #i32: Int32Array;
  readonly #i64: BigInt64Array;
  readonly #area: number;

  constructor(machine: BareMachine) {
    this.machine = machine;
    this.#i32 = machine.machineMemory.i32;
    this.#i64 = new BigInt64Array(this.#i32.buffer);
    this.#area = machine.guest.hartArea(0);
  }

  prepare(program: Uint8Array, random: Random): void {
    const { machine } = this;
    machine.load(CODE, program);
    const data = BigInt64Array.from({ length: DATA_BYTES / 8 }, () => BigInt.asIntN(64, random.bits64()));
    machine.memory.write(DATA, new Uint8Array(data.buffer));
    machine.hart.resetMachineMode(BigInt(CODE));
    for (let n = 1; n < 32; n++) machine.hart.setX(n, BigInt.asIntN(64, random.bits64() >> BigInt(random.below(64))));
    this.pollAfter(CHUNK, 0);
  }

  /** Has the hart poll at the first jump behind so many instructions. @param retired those that count as retired by now */
  pollAfter(instructions: number, retired = this.machine.hart.retired): void {
    for (const field of ['chunk', 'remaining'] as const) this.#i32[(this.#area + offset32(field)) >>> 2] = instructions;
    this.#i64[(this.#area + offset64('retired')) / 8] = BigInt(retired);
  }

  /** Runs to the next poll; false at the end of the program. */
  step(instructions: number): boolean {
    this.pollAfter(instructions);
    const reason = this.machine.hart.run(1, Number.MAX_SAFE_INTEGER);
    assert.ok(reason === EXIT.budget || reason === EXIT.wfi, `ended by ${reason}`);
    return reason === EXIT.budget;
  }

  /** The registers and the program counter. */
  get registers(): string {
    const { hart } = this.machine;
    const x = Array.from({ length: 32 }, (_, n) => this.machine.x(n).toString(16));
    const f = Array.from({ length: 8 }, (_, n) => hart.f(n).toString(16));
    return `${hart.pc.toString(16)} ${x.join()} ${f.join()} ${hart.field('mscratch')}`;
  }

  /** All that a program can leave behind. */
  get state(): { registers: string; retired: number; data: Buffer } {
    const data = new Uint8Array(DATA_BYTES);
    this.machine.memory.read(DATA, data);
    return { registers: this.registers, retired: this.machine.hart.retired, data: Buffer.from(data) };
  }
}

function run(flow: FlowMachine): void {
  assert.equal(flow.machine.hart.run(50 * CHUNK, Number.MAX_SAFE_INTEGER), EXIT.wfi);
}

describe('random control flow', () => {
  for (const tier of ['translator', 'mixed'] as const) {
    test(`ends translated as interpreted, down to the number of instructions: ${tier}`, () => {
      const expected = new FlowMachine(new BareMachine({ tier: 'interpreter' }));
      const actual = new FlowMachine(new BareMachine({ tier }));
      let executed = 0;
      for (let seed = 0; seed < PROGRAMS; seed++) {
        const program = randomFlow(new Random(seed, 1), { most: MOST, counts: true });
        for (const flow of [expected, actual]) {
          flow.prepare(program, new Random(seed, 2));
          run(flow);
        }
        assert.deepEqual(actual.state, expected.state, `seed ${seed}`);
        executed += actual.machine.hart.retired;
      }
      const share = Number(actual.machine.hart.field('translatedInstructions')) / executed;
      assert.ok(share > (tier === 'mixed' ? 0.5 : 0.8), `only ${share.toFixed(2)} of the instructions were translated`);
    });
  }

  test('wherever translated code is left for a poll, its state is that of the interpreter there', () => {
    const expected = new FlowMachine(new BareMachine({ tier: 'interpreter' }));
    const actual = new FlowMachine(new BareMachine({ tier: 'translator' }));
    let polls = 0;
    let compared = 0;
    for (let seed = 0; seed < PROGRAMS / 5; seed++) {
      const random = new Random(seed, 3);
      const program = randomFlow(random, { most: MOST / 3, counts: true });
      for (const flow of [expected, actual]) flow.prepare(program, new Random(seed, 4));
      // The interpreter polls at every jump when it has to.
      const states = new Map<number, string>();
      while (expected.step(0)) states.set(expected.machine.hart.retired, expected.registers);
      while (actual.step(random.below(60))) {
        polls++;
        // Translated code may poll where the code runs out of the region without a jump, or accesses lie on two pages.
        const state = states.get(actual.machine.hart.retired);
        if (state === undefined) continue;
        compared++;
        assert.equal(actual.registers, state, `seed ${seed}, behind ${actual.machine.hart.retired} instructions`);
      }
      assert.deepEqual(actual.state, expected.state, `seed ${seed}`);
    }
    assert.ok(compared > 0.7 * polls && polls > PROGRAMS, `${compared} of ${polls} compared`);
  });

  test('interrupts at any poll change nothing', () => {
    const expected = new FlowMachine(new BareMachine({ tier: 'interpreter' }));
    const line = 0x1000_0000;
    const machine: BareMachine = new BareMachine({
      tier: 'translator',
      environment: {
        deviceWrite: () => {
          machine.hart.setPending(INTERRUPT.MTI, false);
          return true;
        },
      },
    });
    const actual = new FlowMachine(machine);
    const { t5, t6 } = R;
    // Saves what it uses, counts at TRAP + 0x100, and lowers the line.
    const handler = assemble((a) => {
      a.csr('csrrw', 0, 'sscratch', t6)
        .li(t6, TRAP + 0x100)
        .i('sd', { rs1: t6, rs2: t5, imm: 8 });
      a.i('ld', { rd: t5, rs1: t6 }).i('addi', { rd: t5, rs1: t5, imm: 1 }).i('sd', { rs1: t6, rs2: t5 });
      a.li(t5, line).i('sw', { rs1: t5 }).i('ld', { rd: t5, rs1: t6, imm: 8 });
      a.csr('csrrs', t6, 'sscratch').i('mret');
    });
    let raised = 0;
    for (let seed = 0; seed < PROGRAMS / 5; seed++) {
      const random = new Random(seed, 5);
      const program = randomFlow(random, { most: MOST / 2, counts: false });
      expected.prepare(program, new Random(seed, 6));
      run(expected);
      actual.prepare(program, new Random(seed, 6));
      machine.load(TRAP, handler);
      const boot = assemble((a) => {
        a.setCsr('mtvec', TRAP)
          .setCsr('mie', 1 << INTERRUPT.MTI)
          .setCsr('mepc', CODE)
          .setCsr('mstatus', 3 << 11);
        a.csr('csrrsi', 0, 'mstatus', 0)
          .li(t6, 1 << 7)
          .csr('csrrs', 0, 'mstatus', t6)
          .li(t6, 0)
          .i('mret');
      });
      machine.load(TRAP + 0x200, boot);
      machine.hart.pc = BigInt(TRAP + 0x200);
      while (actual.step(random.below(100))) {
        // One that waits while the handler is at work would be taken before the program goes on.
        if (machine.hart.pc < BigInt(CODE)) continue;
        machine.hart.setPending(INTERRUPT.MTI, true);
        raised++;
      }
      assert.equal(actual.registers, expected.registers, `seed ${seed}`);
      assert.deepEqual(actual.state.data, expected.state.data, `seed ${seed}`);
    }
    assert.ok(raised > PROGRAMS);
    assert.equal(machine.memory.readU64(TRAP + 0x100), BigInt(raised));
  });
});
