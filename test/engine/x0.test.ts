import assert from 'node:assert/strict';
import { test } from 'node:test';
import { INSTRUCTIONS } from '../../src/isa/decode.ts';
import { encode, encodeCompressed } from '../../src/isa/encode.ts';
import type { Instruction } from '../../src/isa/instruction.ts';
import { type Assembler, csrNumber, R } from './assembler.ts';
import { BareMachine, DATA } from './bare-machine.ts';

const { a0, a1, a2, t0, t1 } = R;
const DEVICE = 0x1000_0000;

/** Instructions that write an integer register. */
const writers = INSTRUCTIONS.filter(({ syntax }) => /(^|\W)rd\b/.test(syntax));

/** With rd = x0, operands that are not 0, and a0 holding the address of readable words that are not 0. */
function intoX0(instruction: Instruction): number {
  const { name, format, syntax } = instruction;
  if (format === 'J') return encode(name, { imm: 4 });
  if (format === 'U') return encode(name, { imm: 0x7000 });
  if (format === 'CSR') {
    return encode(name, { rs1: syntax.endsWith('uimm') ? 5 : a1, imm: csrNumber('mscratch') });
  }
  const rs2 = /rs2/.test(syntax) ? { rs2: syntax.includes('frs2') ? 1 : a1 } : {};
  const rs1 = syntax.includes('frs1') ? 1 : a0;
  return encode(name, { rs1, ...rs2, ...(syntax.endsWith('imm') ? { imm: 3 } : {}) });
}

/** Collects in a2 whatever x0 was found to be. */
const collect = (a: Assembler): Assembler => a.i('or', { rd: a2, rs1: a2 });

function machineAt(address: number): BareMachine {
  const machine = new BareMachine({ environment: { deviceRead: () => 0x5555n, deviceWrite: () => true } });
  for (let i = 0; i < 64; i++) machine.memory.writeU64(DATA + i * 8, 0x7777_7777_7777_7777n);
  machine.hart.setX(a0, BigInt(address));
  return machine;
}

function begin(a: Assembler, address: number): void {
  a.li(t1, 3 << 13)
    .csr('csrrs', 0, 'mstatus', t1)
    .setCsr('mscratch', -1);
  a.li(a0, address).li(a1, 9).li(a2, 0).i('fcvt.d.l', { rd: 1, rs1: a1 });
}

test('x0 stays 0, whichever instruction writes to it', () => {
  const machine = machineAt(DATA);
  machine.execute((a) => {
    begin(a, DATA);
    for (const instruction of writers) {
      if (instruction.name === 'jalr') a.i('auipc', { rd: t0 }).i('jalr', { rs1: t0, imm: 8 });
      else a.word(intoX0(instruction));
      collect(a);
    }
  });
  machine.expectNoTrap();
  assert.equal(machine.x(a2), 0n);
  assert.equal(machine.hart.x(0), 0n);
  assert.ok(writers.length > 130, `${writers.length} instructions`);
});

test('by loads from a device, and across pages', () => {
  for (const address of [DEVICE, DATA + 4093]) {
    const machine = machineAt(address);
    machine.memory.fill(DATA + 4090, 16, 0x77);
    machine.execute((a) => {
      begin(a, address);
      for (const name of ['lb', 'lbu', 'lh', 'lhu', 'lw', 'lwu', 'ld']) {
        a.i(name, { rs1: a0 });
        collect(a);
      }
    });
    machine.expectNoTrap();
    assert.equal(machine.x(a2), 0n);
  }
});

test('by compressed hints', () => {
  const hints = [
    encodeCompressed('c.li', { rd: 0, imm: 5 }),
    encodeCompressed('c.lui', { rd: 0, imm: 0x5000 }),
    encodeCompressed('c.slli', { rd: 0, rs1: 0, imm: 5 }),
    encodeCompressed('c.mv', { rd: 0, rs2: a1 }),
    encodeCompressed('c.add', { rd: 0, rs1: 0, rs2: a1 }),
    encodeCompressed('c.addi', { rd: 0, rs1: 0, imm: 5 }),
  ];
  const machine = machineAt(DATA);
  machine.execute((a) => {
    begin(a, DATA);
    for (const hint of hints) collect(a.half(hint));
  });
  machine.expectNoTrap();
  assert.equal(machine.x(a2), 0n);
});
