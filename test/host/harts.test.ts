/** Guests with several harts, in small programs: what the harts' threads do for each other. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ACLINT, PLIC, RAM_BASE, TEST_FINISHER, UART } from '../../src/devices/map.ts';
import { Host } from '../../src/index.ts';
import { Assembler, R } from '../engine/assembler.ts';
import { kernelImage } from '../machine/kernel-image.ts';

const { a0, a1, a6, a7, s0, s1, t0, t1, t2, t3 } = R;
const s2 = 18;
const [MSIE, MTIE, MEIE, SSIE] = [1 << 3, 1 << 7, 1 << 11, 1 << 1];
const TIMEOUT_MS = 60_000;
/** Where programs keep what their harts tell each other. */
const FLAG = RAM_BASE + 0x1_0000;
/** Where the code of a kernel stands, behind its header. */
const KERNEL = RAM_BASE + 0x20_0000 + 64;

const folder = mkdtempSync(join(tmpdir(), 'ballonet-harts-'));
after(() => rmSync(folder, { recursive: true }));
let host: Host;
before(async () => {
  host = await Host.create({ machineMemory: '64M' });
});
after(() => host.close());

let programs = 0;
function file(bytes: Uint8Array): string {
  const path = join(folder, `program-${++programs}`);
  writeFileSync(path, bytes);
  return path;
}

/** Starts a guest with 8 MiB and a program in place of its firmware (M-mode) or its kernel (S-mode). */
function start(mode: 'M' | 'S', harts: number, write: (a: Assembler) => void) {
  const a = new Assembler();
  write(a);
  const program = mode === 'M' ? { firmware: file(a.finish()) } : { kernel: file(kernelImage(a.finish())) };
  return host.start({ memory: '8M', harts, devices: false, ...program });
}

/** Prints a character by the serial port. */
const print = (a: Assembler, character: string): Assembler =>
  a.li(t0, UART.base).li(t1, character.charCodeAt(0)).i('sb', { rs1: t0, rs2: t1 });

/** Prints a register as a digit. */
const printDigit = (a: Assembler, register: number): Assembler =>
  a.li(t0, UART.base).i('addi', { rd: t1, rs1: register, imm: 48 }).i('sb', { rs1: t0, rs2: t1 });

const powerOff = (a: Assembler): Assembler =>
  a.li(t0, TEST_FINISHER.base).li(t1, 0x5555).i('sw', { rs1: t0, rs2: t1 }).i('jal', {});

/** Waits until one of the bits of mip or sip is set. */
function waitFor(a: Assembler, pending: 'mip' | 'sip', bit: number): void {
  const label = `wait-${a.length}`;
  a.li(t0, bit).csr('csrrs', 0, pending === 'mip' ? 'mie' : 'sie', t0);
  a.label(label).i('wfi').csr('csrrs', t1, pending).i('and', { rd: t1, rs1: t1, rs2: t0 });
  a.to('beq', label, { rs1: t1 }).csr('csrrc', 0, pending === 'mip' ? 'mie' : 'sie', t0);
}

/** Spins until the flag has a value. */
function waitForFlag(a: Assembler, value: number): void {
  const label = `flag-${a.length}`;
  a.li(t0, FLAG).li(t1, value).label(label).i('pause');
  a.i('lw', { rd: t2, rs1: t0 }).to('bne', label, { rs1: t1, rs2: t2 });
}

const setFlag = (a: Assembler, value: number): Assembler =>
  a.li(t0, FLAG).li(t1, value).i('fence', { imm: 0xff }).i('sw', { rs1: t0, rs2: t1 });

/** Sets MTIMECMP of a hart to some ticks from now. */
const setTimer = (a: Assembler, hart: number, ticks: number): Assembler =>
  a
    .li(t0, ACLINT.base + 0xbff8)
    .i('ld', { rd: t1, rs1: t0 })
    .li(t2, ticks)
    .i('add', { rd: t1, rs1: t1, rs2: t2 })
    .li(t0, ACLINT.base + 0x4000 + 8 * hart)
    .i('sd', { rs1: t0, rs2: t1 });

/** A hypercall with arguments from a0 on that are constants. */
function hypercall(a: Assembler, extension: number, id: number, ...args: number[]): Assembler {
  for (const [i, value] of args.entries()) a.li(a0 + i, value);
  return a.li(a7, extension).li(a6, id).i('ecall');
}

const [HSM, IPI, RFENCE, SRST, DBCN] = [0x48_534d, 0x73_5049, 0x5246_4e43, 0x5352_5354, 0x4442_434e];

describe('harts in M-mode', { timeout: TIMEOUT_MS }, () => {
  test('all start with their numbers; devices, faults, timers and interrupts of the one behind', async () => {
    const guest = await start('M', 2, (a) => {
      a.to('bne', 'second', { rs1: a0 });
      // The second hart sets this one's timer, then its software interrupt.
      waitFor(a, 'mip', MTIE);
      a.li(t0, ACLINT.base + 0x4000)
        .li(t1, -1)
        .i('sd', { rs1: t0, rs2: t1 });
      print(a, 'T');
      setFlag(a, 1);
      waitFor(a, 'mip', MSIE);
      a.li(t0, ACLINT.base).i('lw', { rd: s0, rs1: t0 }).i('sw', { rs1: t0 }).i('lw', { rd: s1, rs1: t0 });
      printDigit(a, s0);
      printDigit(a, s1);
      powerOff(a);

      a.label('second');
      printDigit(a, a0);
      // The device tree, big-endian as it is.
      a.i('lw', { rd: s0, rs1: a1 })
        .li(s1, 0xedfe0dd0 | 0)
        .to('bne', 'end', { rs1: s0, rs2: s1 });
      print(a, 'd');
      a.i('auipc', { rd: t0 }).i('addi', { rd: t0, rs1: t0, imm: 28 }).csr('csrrw', 0, 'mtvec', t0);
      a.li(t1, 0x3000_0000).i('lw', { rd: s0, rs1: t1 }).jump('end');
      a.csr('csrrs', s0, 'mcause');
      printDigit(a, s0);
      setTimer(a, 1, 20_000);
      waitFor(a, 'mip', MTIE);
      print(a, 't');
      setTimer(a, 0, 20_000);
      waitForFlag(a, 1);
      a.li(t0, ACLINT.base).li(t1, 1).i('sw', { rs1: t0, rs2: t1 });
      a.label('end').i('wfi').jump('end');
    });
    assert.deepEqual(await guest.wait(), { reason: 'poweroff', status: 0 });
    assert.equal(guest.console.tail, '1d5tT10');
  });

  test('an interrupt of a device goes to the hart that has it enabled', async () => {
    const guest = await start('M', 3, (a) => {
      a.li(t0, 2).to('bne', 'end', { rs1: a0, rs2: t0 });
      a.li(s0, PLIC.base)
        .li(t1, 1)
        .i('sw', { rs1: s0, rs2: t1, imm: UART.irq * 4 });
      // M-mode of hart 2 is context 4.
      a.li(s1, PLIC.base + 0x2000 + 4 * 0x80)
        .li(t1, 1 << UART.irq)
        .i('sw', { rs1: s1, rs2: t1 });
      a.li(s1, PLIC.base + 0x20_0000 + 4 * 0x1000).i('sw', { rs1: s1 });
      a.li(t0, UART.base).li(t1, 1).i('sb', { rs1: t0, rs2: t1, imm: 1 });
      print(a, '>');
      a.label('again');
      waitFor(a, 'mip', MEIE);
      a.i('lw', { rd: s2, rs1: s1, imm: 4 }).li(t1, UART.irq).to('bne', 'end', { rs1: s2, rs2: t1 });
      a.li(t0, UART.base).i('lbu', { rd: t3, rs1: t0 }).i('sb', { rs1: t0, rs2: t3 });
      a.i('sw', { rs1: s1, rs2: s2, imm: 4 }).li(t1, 'q'.charCodeAt(0)).to('bne', 'again', { rs1: t3, rs2: t1 });
      powerOff(a);
      a.label('end').i('wfi').jump('end');
    });
    await guest.console.until(/>$/, TIMEOUT_MS);
    guest.console.write('a');
    await guest.console.until(/>a$/, TIMEOUT_MS);
    guest.console.write('bq');
    assert.deepEqual(await guest.wait(), { reason: 'poweroff', status: 0 });
    assert.equal(guest.console.tail, '>abq');
  });

  test('all stand still while their guest is paused, and their instructions and time are counted', async () => {
    const harts = 3;
    const guest = await start('M', harts, (a) => {
      // A counter for each, in a page of its own.
      a.li(t0, FLAG).i('slli', { rd: t1, rs1: a0, imm: 12 }).i('add', { rd: t0, rs1: t0, rs2: t1 });
      a.label('again').i('ld', { rd: t1, rs1: t0 }).i('addi', { rd: t1, rs1: t1, imm: 1 });
      a.i('sd', { rs1: t0, rs2: t1 }).jump('again');
    });
    const counters = async (): Promise<bigint[]> => {
      const bytes = await guest.readMemory(FLAG, harts * 4096);
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      return Array.from({ length: harts }, (_, hart) => view.getBigUint64(hart * 4096, true));
    };
    const moving = async (): Promise<void> => {
      const before = await counters();
      for (;;) {
        const now = await counters();
        if (now.every((count, hart) => count > before[hart]!)) return;
        await sleep(5);
      }
    };
    await moving();
    for (let round = 0; round < 5; round++) {
      await guest.pause();
      const before = await counters();
      await sleep(30);
      assert.deepEqual(await counters(), before);
      await guest.resume();
      await moving();
    }
    // Asked for before it has come to pass.
    await Promise.all([guest.pause(), guest.resume(), guest.pause(), guest.resume()]);
    await moving();
    while (guest.statistics().engine.busyMs < 500) await sleep(20);
    const count = (await counters()).reduce((sum, n) => sum + n, 0n);
    assert.deepEqual(await guest.kill(), { reason: 'killed', status: 1 });
    const { engine } = guest.statistics();
    assert.ok(engine.instructions >= Number(count) * 4, `${engine.instructions} for ${count} rounds`);
  });
});

/** Prints a register as a digit, by hypercall. */
const sayDigit = (a: Assembler, register: number): Assembler =>
  hypercall(a.i('addi', { rd: a0, rs1: register, imm: 48 }), DBCN, 2);

describe('harts in S-mode', { timeout: TIMEOUT_MS }, () => {
  test('start, interrupts, fences, suspension, stop and start again; the end by any hart', async () => {
    const guest = await start('S', 2, (a) => {
      const startSecond = (opaque: number): void => {
        hypercall(a, HSM, 0, 1, KERNEL + 4, opaque);
      };
      const status = (): void => {
        hypercall(a, HSM, 2, 1);
      };
      a.jump('main');

      a.label('second').i('addi', { rd: s0, rs1: a0 }).i('addi', { rd: s1, rs1: a1 });
      sayDigit(a, s0);
      sayDigit(a, s1);
      a.csr('csrrs', s0, 'satp').to('bne', 'end', { rs1: s0 });
      a.li(t0, 4).to('beq', 'off', { rs1: s1, rs2: t0 });
      // The text to print, in memory, by the debug console.
      a.li(t0, FLAG + 64)
        .li(t1, 0x656e6f)
        .i('sw', { rs1: t0, rs2: t1 });
      hypercall(a, DBCN, 0, 3, FLAG + 64, 0);
      a.li(t0, SSIE).csr('csrrs', 0, 'sie', t0);
      setFlag(a, 1);
      // Until the interrupt, behind which it goes on here.
      hypercall(a, HSM, 3, 0);
      a.csr('csrrs', s0, 'sip').i('andi', { rd: s0, rs1: s0, imm: SSIE });
      sayDigit(a, s0);
      a.csr('csrrci', 0, 'sip', SSIE);
      a.csr('csrrs', s0, 'sip').i('andi', { rd: s0, rs1: s0, imm: SSIE });
      sayDigit(a, s0);
      hypercall(a, HSM, 1);
      a.label('off');
      hypercall(a, SRST, 0, 0, 0);
      a.label('end').i('wfi').jump('end');

      a.label('main');
      status();
      sayDigit(a, a1);
      startSecond(3);
      waitForFlag(a, 1);
      // A hart that runs can't be started.
      hypercall(a, HSM, 0, 0, KERNEL + 4, 3);
      a.i('addi', { rd: a0, rs1: a0, imm: 9 });
      sayDigit(a, a0);
      hypercall(a, RFENCE, 0, 3, 0);
      sayDigit(a, a0);
      hypercall(a, RFENCE, 1, 2, 0, 0, 0);
      sayDigit(a, a0);
      a.label('suspending');
      status();
      a.li(t0, 4).to('bne', 'suspending', { rs1: a1, rs2: t0 });
      hypercall(a, IPI, 0, 2, 0);
      a.label('stopping');
      status();
      a.li(t0, 1).to('bne', 'stopping', { rs1: a1, rs2: t0 });
      startSecond(4);
      a.label('idle').i('wfi').jump('idle');
      assert.equal(a.offset('second'), 4);
    });
    assert.deepEqual(await guest.wait(), { reason: 'poweroff', status: 0 });
    // Status 1, hart 1 with 3, what it printed, ALREADY_AVAILABLE (-6 + 9), two fences, the interrupt and its end, hart 1 with 4.
    assert.equal(guest.console.tail, '113one3002014');
  });
});

test('a number of harts that cannot be', async () => {
  const firmware = file(new Assembler().i('wfi').finish());
  for (const harts of [0, -1, 9, 1.5, Number.NaN]) {
    await assert.rejects(host.start({ memory: '8M', firmware, harts }), {
      name: 'OptionError',
      message: `harts: ${harts} is not a whole number from 1 to 8`,
    });
  }
});
