/**
 * The M-mode monitor: sets up each program's state, runs it, logs its traps and sends its final state to the UART.
 *
 * It keeps mtvec and mscratch for itself (mscratch holds the address of VARIABLES while a program runs). A program
 * ends with an ebreak at the `end` of its header; any other trap is logged and execution goes on behind the
 * instruction that caused it, or at the next `resume` address if the pc lies outside of the program's code.
 * Delegated traps arrive in a stub that calls the monitor, which logs the supervisor's CSRs and lets the stub return.
 */
import { Assembler } from './assembler.ts';
import { CSR_NUMBER } from './csr.ts';
import {
  BATCH,
  CODE,
  DATA,
  DATA_SIZE,
  DELEGATED,
  MSIP,
  MTIMECMP,
  PAGE,
  PAGE_TABLES,
  PAGE_TABLES_SIZE,
  RAM_BASE,
  STUB,
  TEST_FINISHER,
  TRAP_LOG,
  TRAP_WORDS,
  VARIABLES,
} from './layout.ts';
import {
  header,
  LOG_END,
  markBorder,
  PROGRAM,
  RA,
  RESUMED,
  readCsr,
  S0,
  S1,
  T0,
  T1,
  T2,
  T3,
  T4,
  T5,
  TRAPS,
  VARS,
  writeCsr,
} from './monitor-code.ts';
import { finishProgram } from './monitor-signature.ts';
import { HEADER } from './program.ts';

/** Fills the double words of a range with zero. */
function clearRange(a: Assembler, label: string, start: number, size: number): void {
  a.li(T0, start);
  a.li(T1, start + size);
  a.label(label);
  a.op('sd', { rs1: T0, rs2: 0, imm: 0 });
  a.op('addi', { rd: T0, rs1: T0, imm: 8 });
  a.to('bltu', label, { rs1: T0, rs2: T1 });
}

/** Machine code of monitor and stub, to be loaded at RAM_BASE. */
export function assembleMonitor(): Uint8Array {
  const a = new Assembler();
  setUpMachine(a);
  runNextProgram(a);
  handleTrap(a);
  finishProgram(a);
  return placeStub(a.finish());
}

function setUpMachine(a: Assembler): void {
  // One hart does the work; QEMU is given a second one so that its atomics are real ones (see its runner).
  readCsr(a, T0, 'mhartid');
  a.to('beq', 'first-hart', { rs1: T0, rs2: 0 });
  a.label('sleep');
  a.op('wfi');
  a.jump('sleep');
  a.label('first-hart');
  // The link register of this jump is the address of the jump to `trap`, which becomes the trap vector.
  a.to('jal', 'behind-vector', { rd: RA });
  a.jump('trap');
  a.label('behind-vector');
  writeCsr(a, 'mtvec', RA);
  a.li(VARS, VARIABLES);
  writeCsr(a, 'mscratch', VARS);
  a.li(T0, -1n);
  writeCsr(a, 'pmpaddr7', T0);
  // No timer interrupt is due, ever.
  a.li(T0, MTIMECMP);
  a.li(T1, -1n);
  a.op('sd', { rs1: T0, rs2: T1, imm: 0 });
  a.li(T0, BATCH);
  a.op('sd', { rs1: VARS, rs2: T0, imm: PROGRAM });
}

function runNextProgram(a: Assembler): void {
  a.label('next');
  a.li(VARS, VARIABLES);
  a.op('ld', { rd: S0, rs1: VARS, imm: PROGRAM });
  a.op('ld', { rd: T0, rs1: S0, imm: header(HEADER.size) });
  a.to('bne', 'set-up', { rs1: T0, rs2: 0 });
  a.li(T0, TEST_FINISHER);
  a.li(T1, 0x5555);
  a.op('sw', { rs1: T0, rs2: T1, imm: 0 });
  a.label('hang');
  a.jump('hang');

  a.label('set-up');
  for (const name of [
    'satp',
    'mie',
    'mip',
    'mstatus',
    'sepc',
    'scause',
    'stval',
    'sscratch',
    'mcause',
    'mtval',
  ] as const) {
    writeCsr(a, name, 0);
  }
  a.op('sfence.vma');
  a.li(T0, MSIP);
  a.op('sw', { rs1: T0, rs2: 0, imm: 0 });
  // A store-conditional drops whatever reservation the last program left.
  a.op('addi', { rd: T0, rs1: VARS, imm: 0x200 });
  a.atomic('sc.d', { rd: T1, rs1: T0, rs2: 0 });

  // All that a program may reach, beside its data: what one has left there must mean nothing to the next, or a machine that is
  // started again in the middle of a batch would have other memory than one that is not.
  clearRange(a, 'clear-before', CODE, DATA - CODE);
  clearRange(a, 'clear-behind', DATA + DATA_SIZE, PAGE_TABLES + PAGE_TABLES_SIZE - DATA - DATA_SIZE);

  // xorshift64 over the data pages; a seed of zero stays zero.
  a.op('ld', { rd: T2, rs1: S0, imm: header(HEADER.dataSeed) });
  a.li(T0, DATA);
  a.li(T1, DATA + DATA_SIZE);
  a.label('fill');
  for (const [shift, amount] of [
    ['slli', 13],
    ['srli', 7],
    ['slli', 17],
  ] as const) {
    a.op(shift, { rd: T3, rs1: T2, imm: amount });
    a.op('xor', { rd: T2, rs1: T2, rs2: T3 });
  }
  a.op('sd', { rs1: T0, rs2: T2, imm: 0 });
  a.op('addi', { rd: T0, rs1: T0, imm: 8 });
  a.to('bltu', 'fill', { rs1: T0, rs2: T1 });

  a.op('addi', { rd: T0, rs1: S0, imm: header(HEADER.body) });
  a.op('ld', { rd: T1, rs1: S0, imm: header(HEADER.pokeCount) });
  a.label('poke');
  a.to('beq', 'poked', { rs1: T1, rs2: 0 });
  a.op('ld', { rd: T2, rs1: T0, imm: 0 });
  a.op('ld', { rd: T3, rs1: T0, imm: 8 });
  a.op('sd', { rs1: T2, rs2: T3, imm: 0 });
  a.op('addi', { rd: T0, rs1: T0, imm: 16 });
  a.op('addi', { rd: T1, rs1: T1, imm: -1 });
  a.jump('poke');
  a.label('poked');

  // T0 points to the code now.
  a.op('ld', { rd: T1, rs1: S0, imm: header(HEADER.codeLength) });
  a.op('add', { rd: T1, rs1: T1, rs2: T0 });
  a.li(T2, CODE);
  a.label('copy');
  a.op('ld', { rd: T3, rs1: T0, imm: 0 });
  a.op('sd', { rs1: T2, rs2: T3, imm: 0 });
  a.op('addi', { rd: T0, rs1: T0, imm: 8 });
  a.op('addi', { rd: T2, rs1: T2, imm: 8 });
  a.to('bltu', 'copy', { rs1: T0, rs2: T1 });
  a.op('fence.i');

  for (const [index, name] of (['pmpaddr0', 'pmpaddr1', 'pmpaddr2', 'pmpaddr3'] as const).entries()) {
    a.op('ld', { rd: T0, rs1: S0, imm: header(HEADER.pmpaddr + index) });
    writeCsr(a, name, T0);
  }
  a.op('sd', { rs1: VARS, rs2: 0, imm: TRAPS });
  a.op('sd', { rs1: VARS, rs2: 0, imm: RESUMED });
  a.li(T0, TRAP_LOG);
  a.op('sd', { rs1: VARS, rs2: T0, imm: LOG_END });

  markBorder(a);
  a.li(T0, 0x6000);
  writeCsr(a, 'mstatus', T0);
  for (let n = 0; n < 32; n++) a.op('fld', { rd: n, rs1: S0, imm: header(HEADER.f + n) });
  for (const name of [
    'fcsr',
    'medeleg',
    'mideleg',
    'stvec',
    'mcounteren',
    'scounteren',
    'menvcfg',
    'satp',
    'pmpcfg0',
    'mstatus',
    'mie',
  ] as const) {
    a.op('ld', { rd: T0, rs1: S0, imm: header(HEADER[name]) });
    writeCsr(a, name, T0);
  }
  a.op('sfence.vma');
  a.op('ld', { rd: T0, rs1: S0, imm: header(HEADER.entry) });
  writeCsr(a, 'mepc', T0);
  for (let n = 1; n < 32; n++) {
    if (n !== S0) a.op('ld', { rd: n, rs1: S0, imm: header(HEADER.x + n) });
  }
  a.op('ld', { rd: S0, rs1: S0, imm: header(HEADER.x + S0) });
  a.op('mret');
}

function handleTrap(a: Assembler): void {
  a.label('trap');
  a.op('csrrw', { rd: VARS, rs1: VARS, imm: CSR_NUMBER.mscratch });
  for (let n = 1; n < 31; n++) a.op('sd', { rs1: VARS, rs2: n, imm: n * 8 });
  readCsr(a, T0, 'mscratch');
  a.op('sd', { rs1: VARS, rs2: T0, imm: 31 * 8 });
  writeCsr(a, 'mscratch', VARS);
  a.op('ld', { rd: S0, rs1: VARS, imm: PROGRAM });

  readCsr(a, T0, 'mcause');
  readCsr(a, T1, 'mepc');
  readCsr(a, T2, 'mtval');
  readCsr(a, T3, 'mstatus');
  // A call from the stub stands for the trap that the supervisor took: S1 tells them apart.
  a.li(S1, 0);
  a.li(T4, 9);
  a.to('bne', 'log', { rs1: T0, rs2: T4 });
  a.op('ld', { rd: T4, rs1: S0, imm: header(HEADER.stvec) });
  a.op('andi', { rd: T4, rs1: T4, imm: -4 });
  // Vectored interrupts enter the stub behind its start: the stub page is not used for anything else.
  a.op('sub', { rd: T4, rs1: T1, rs2: T4 });
  a.li(T5, PAGE);
  a.to('bgeu', 'log', { rs1: T4, rs2: T5 });
  a.li(S1, 1);
  readCsr(a, T0, 'scause');
  a.li(T4, DELEGATED);
  a.op('or', { rd: T0, rs1: T0, rs2: T4 });
  readCsr(a, T1, 'sepc');
  readCsr(a, T2, 'stval');

  a.label('log');
  clearBreakpointAddress(a);
  a.op('ld', { rd: T4, rs1: VARS, imm: LOG_END });
  for (const [index, register] of [T0, T1, T2, T3].entries()) a.op('sd', { rs1: T4, rs2: register, imm: index * 8 });
  a.op('addi', { rd: T4, rs1: T4, imm: TRAP_WORDS * 8 });
  a.op('sd', { rs1: VARS, rs2: T4, imm: LOG_END });
  a.op('ld', { rd: T4, rs1: VARS, imm: TRAPS });
  a.op('addi', { rd: T4, rs1: T4, imm: 1 });
  a.op('sd', { rs1: VARS, rs2: T4, imm: TRAPS });

  a.op('ld', { rd: T5, rs1: S0, imm: header(HEADER.trapLimit) });
  a.to('bltu', 'finish', { rs1: T5, rs2: T4 });
  a.op('ld', { rd: T5, rs1: S0, imm: header(HEADER.end) });
  a.to('beq', 'finish', { rs1: T5, rs2: T1 });

  // Interrupts: take the cause away and go on where it was.
  a.to('bge', 'exception', { rs1: T0, rs2: 0 });
  a.li(T4, MSIP);
  a.op('sw', { rs1: T4, rs2: 0, imm: 0 });
  writeCsr(a, 'mip', 0);
  a.jump('resume');

  a.label('exception');
  a.op('ld', { rd: T4, rs1: S0, imm: header(HEADER.codeAddress) });
  a.op('sub', { rd: T4, rs1: T1, rs2: T4 });
  a.op('ld', { rd: T5, rs1: S0, imm: header(HEADER.codeLength) });
  a.to('bgeu', 'outside', { rs1: T4, rs2: T5 });
  a.li(T5, CODE);
  a.op('add', { rd: T4, rs1: T4, rs2: T5 });
  a.op('lbu', { rd: T4, rs1: T4, imm: 0 });
  a.op('andi', { rd: T4, rs1: T4, imm: 3 });
  a.op('addi', { rd: T1, rs1: T1, imm: 2 });
  a.li(T5, 3);
  a.to('bne', 'resume', { rs1: T4, rs2: T5 });
  a.op('addi', { rd: T1, rs1: T1, imm: 2 });
  a.jump('resume');

  a.label('outside');
  a.op('ld', { rd: T4, rs1: VARS, imm: RESUMED });
  a.op('ld', { rd: T5, rs1: S0, imm: header(HEADER.resumeCount) });
  a.to('bgeu', 'finish', { rs1: T4, rs2: T5 });
  a.op('addi', { rd: T5, rs1: T4, imm: 1 });
  a.op('sd', { rs1: VARS, rs2: T5, imm: RESUMED });
  a.op('slli', { rd: T4, rs1: T4, imm: 3 });
  a.op('add', { rd: T4, rs1: T4, rs2: S0 });
  a.op('ld', { rd: T1, rs1: T4, imm: header(HEADER.resume) });

  a.label('resume');
  a.to('beq', 'resume-machine', { rs1: S1, rs2: 0 });
  writeCsr(a, 'sepc', T1);
  readCsr(a, T1, 'mepc');
  a.op('addi', { rd: T1, rs1: T1, imm: 4 });
  a.label('resume-machine');
  writeCsr(a, 'mepc', T1);
  for (let n = 1; n < 32; n++) a.op('ld', { rd: n, rs1: VARS, imm: n * 8 });
  a.op('mret');
}

/**
 * The trap value of a breakpoint may be 0 or the address of the instruction (privileged specification, 3.1.16 mtval):
 * 0 is logged and left in the CSR, whatever the machine does.
 */
function clearBreakpointAddress(a: Assembler): void {
  a.op('andi', { rd: T4, rs1: T0, imm: 0xff });
  a.li(T5, 3);
  a.to('bne', 'keep-value', { rs1: T4, rs2: T5 });
  a.to('blt', 'keep-value', { rs1: T0, rs2: 0 });
  a.li(T2, 0);
  a.to('beq', 'machine-value', { rs1: S1, rs2: 0 });
  writeCsr(a, 'stval', 0);
  a.jump('keep-value');
  a.label('machine-value');
  writeCsr(a, 'mtval', 0);
  a.label('keep-value');
}

/** The stub's page: from wherever an exception or a vectored interrupt enters, jumps lead to the call at its end. */
function placeStub(monitor: Uint8Array): Uint8Array {
  if (monitor.length > STUB - RAM_BASE) throw new Error(`monitor: ${monitor.length} bytes, one page fits`);
  const stub = new Assembler();
  while (stub.offset < PAGE - 8) stub.jump('call');
  stub.label('call');
  stub.op('ecall');
  stub.op('sret');
  const image = new Uint8Array(STUB - RAM_BASE + PAGE);
  image.set(monitor);
  image.set(stub.finish(), STUB - RAM_BASE);
  return image;
}
