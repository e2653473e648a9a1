/** The same work paravirtualized and fully virtualized: what a guest gains by knowing that it is one. */
import { requireDebian } from '../scripts/debian.ts';
import { Host } from '../src/index.ts';
import { assemble } from './assemble.ts';
import { ballonetArguments, bootFiles, timeToInit } from './boot.ts';
import { type Bench, type Figures, figures, format } from './report.ts';

/** Debian's OpenSBI. */
const FIRMWARE = '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin';
const MIB = 2 ** 20;
/** Where a kernel is loaded. */
const KERNEL = 0x8020_0000;
const TIMERS = 20_000;
const IPIS = 20_000;
const CHARACTERS = 65_536;

/** Kinds of work of the bare kernel below, in its order, with the number of times that it does each. */
const WORK = { timers: TIMERS, 'self-IPIs': IPIS, 'console characters': CHARACTERS } as const;

/**
 * A kernel that does nothing but the work: it takes the time of each kind and prints `ticks KIND HEX` lines. Timers are
 * set as Linux does it, by stimecmp where there is Sstc, by the firmware otherwise; so is output, by a hypercall where the
 * VMM is the firmware, by the 16550 otherwise.
 * @param paravirtual which of the two
 */
function kernelSource(paravirtual: boolean): string {
  const setTimer = paravirtual
    ? 'csrw 0x14d, a0' // stimecmp
    : 'li a7, 0x54494d45\n  li a6, 0\n  ecall';
  // The characters of one line are handed over in one call, or one by one when the transmitter is empty.
  const print = paravirtual
    ? `mv a0, s5
  mv a1, s4
  li a2, 0
  li a6, 0
  li a7, 0x4442434e
  ecall`
    : `add t2, s4, s5
  li t0, 0x10000000
1:
  lbu t1, 5(t0)
  andi t1, t1, 0x20
  beqz t1, 1b
  lbu t1, 0(s4)
  sb t1, 0(t0)
  addi s4, s4, 1
  bltu s4, t2, 1b`;
  return `
# Header of a flat image (Linux Documentation/arch/riscv/boot-image-header.rst)
  j start
  .balign 8
  .dword 0x200000
  .dword 0x100000
  .dword 0
  .word 2
  .word 0
  .dword 0
  .ascii "RISCV\\0\\0\\0"
  .ascii "RSC\\x05"
  .word 0
start:
  la sp, stack
  la t0, trap
  csrw stvec, t0
  li t0, 0x22             # STIE, SSIE
  csrw sie, t0

  li s0, ${TIMERS}
  rdtime s1
1:
  rdtime a0
  ${setTimer}
  la s3, 3f
2:
  csrr t0, sip
  andi t0, t0, 0x20
  beqz t0, 2b
  csrsi sstatus, 2        # the interrupt comes here, and goes on at 3
  j 2b
3:
  addi s0, s0, -1
  bnez s0, 1b
  li t0, 0x20
  csrc sie, t0
  la s6, name_timers
  jal report

  li s0, ${IPIS}
  rdtime s1
1:
  li a0, 1
  li a1, 0
  li a6, 0
  li a7, 0x735049
  ecall
  la s3, 3f
2:
  csrr t0, sip
  andi t0, t0, 2
  beqz t0, 2b
  csrsi sstatus, 2
  j 2b
3:
  csrci sip, 2
  addi s0, s0, -1
  bnez s0, 1b
  la s6, name_ipis
  jal report

  li s0, ${CHARACTERS / 64}
  rdtime s1
1:
  la s4, text
  li s5, 64
  jal print
  addi s0, s0, -1
  bnez s0, 1b
  la s6, name_characters
  jal report

  li a0, 0                # SRST shutdown
  li a1, 0
  li a6, 0
  li a7, 0x53525354
  ecall
1:
  j 1b

# Goes on at s3 with interrupts off.
  .balign 4
trap:
  csrw sepc, s3
  li t0, 0x20
  csrc sstatus, t0        # SPIE off; SPP says S, as interrupts come from there alone
  li a0, -1
  csrr t0, scause
  andi t0, t0, 15
  addi t0, t0, -5
  bnez t0, 1f
  ${setTimer}
1:
  sret

# Prints "ticks NAME HEX" for the time since s1; s6: name of 16 characters.
report:
  mv s11, ra
  rdtime s2
  sub s2, s2, s1
  la s4, word_ticks
  li s5, 6
  jal print
  mv s4, s6
  li s5, 16
  jal print
  la t0, hex
  li t1, 60
1:
  srl t2, s2, t1
  andi t2, t2, 15
  addi t3, t2, 48
  li t4, 10
  bltu t2, t4, 2f
  addi t3, t2, 87
2:
  sb t3, 0(t0)
  addi t0, t0, 1
  addi t1, t1, -4
  bgez t1, 1b
  la s4, hex
  li s5, 18
  jal print
  mv ra, s11
  ret

# Prints s5 characters at s4.
print:
  ${print}
  ret

  .balign 8
word_ticks: .ascii "ticks "
name_timers: .ascii "timers          "
name_ipis: .ascii "self-IPIs       "
name_characters: .ascii "console         "
hex: .ascii "0000000000000000\\r\\n"
text: .ascii "The same sixty-four characters go over the console each time.\\r\\n\\n"
  .balign 16
  .space 1024
stack:
`;
}

/** Microseconds that each piece of work took, by kind. */
async function measure(paravirtual: boolean, kernel: string): Promise<Record<keyof typeof WORK, number>> {
  await using host = await Host.create({ machineMemory: 64 * MIB, swapSize: 0 });
  const guest = await host.start({
    name: paravirtual ? 'paravirtual' : 'full',
    memory: 16 * MIB,
    kernel,
    devices: false,
    ...(paravirtual ? {} : { firmware: FIRMWARE }),
  });
  // The text is longer than what the console keeps.
  let output = '';
  const decoder = new TextDecoder('latin1');
  guest.console.onOutput((bytes) => {
    output += decoder.decode(bytes);
  });
  const exit = await guest.wait();
  const ticks = (name: string): number => {
    const match = new RegExp(`ticks ${name} *([0-9a-f]{16})`).exec(output);
    if (match === null) {
      throw new Error(
        `guest ${guest.name} (${exit.reason} ${exit.message ?? ''}) did not report ${name}: ${output.slice(-400)}`,
      );
    }
    return Number(BigInt(`0x${match[1]}`));
  };
  return {
    timers: ticks('timers') / 10 / TIMERS,
    'self-IPIs': ticks('self-IPIs') / 10 / IPIS,
    'console characters': ticks('console') / 10 / CHARACTERS,
  };
}

export const virtualization: Bench = {
  description: 'the same work paravirtualized and with firmware of its own',
  async run({ runs, progress }) {
    requireDebian('opensbi');
    const kernels = [true, false].map((paravirtual) =>
      assemble(`kernel-${paravirtual ? 'para' : 'full'}`, kernelSource(paravirtual), KERNEL),
    );
    const files = await bootFiles();
    const kinds = ['boot', ...Object.keys(WORK)];
    const values = { paravirtual: new Map<string, number[]>(), full: new Map<string, number[]>() };
    const add = (kind: 'paravirtual' | 'full', name: string, value: number): void => {
      values[kind].set(name, [...(values[kind].get(name) ?? []), value]);
    };
    const append = 'console=ttyS0 panic=-1';
    for (let i = 0; i < runs; i++) {
      progress(`run ${i + 1} of ${runs}`);
      for (const kind of ['paravirtual', 'full'] as const) {
        const more = kind === 'full' ? ['--firmware', FIRMWARE] : [];
        add(kind, 'boot', (await timeToInit(process.execPath, ballonetArguments(files, append, ...more))) / 1000);
        const measured = await measure(kind === 'paravirtual', kernels[kind === 'paravirtual' ? 0 : 1]!);
        for (const [name, value] of Object.entries(measured)) add(kind, name, value);
      }
    }
    const rows: string[][] = [];
    const data: Record<string, { unit: string; paravirtual: Figures; full: Figures; ratio: Figures }> = {};
    for (const name of kinds) {
      const [para, full] = [values.paravirtual.get(name)!, values.full.get(name)!];
      const [a, b] = [figures(para), figures(full)];
      const ratio = figures(full.map((value, i) => value / para[i]!));
      const unit = name === 'boot' ? 's' : 'us each';
      rows.push([`${name}, ${unit}`, format(a, 2), format(b, 2), format(ratio, 2)]);
      data[name] = { unit, paravirtual: a, full: b, ratio };
    }
    return {
      columns: [
        { heading: 'work' },
        { heading: 'paravirtualized', right: true },
        { heading: 'full virtualization', right: true },
        { heading: 'ratio', right: true },
      ],
      rows,
      notes: [
        `Medians (smallest to largest) of ${runs} runs in turn. Paravirtualized: S-mode start, hypercalls, Sstc timers.`,
        'Full: OpenSBI in M-mode, timers and IPIs through it and the ACLINT, the 16550 as console.',
      ],
      data,
    };
  },
};
