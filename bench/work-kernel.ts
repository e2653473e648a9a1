/** A bare kernel for the comparison of the two kinds of virtualization. */

/** Where a kernel is loaded. */
export const KERNEL_ADDRESS = 0x8020_0000;

/** How often the kernel does each kind of work. */
export const TIMES = { timers: 20_000, selfIpis: 20_000, characters: 65_536 } as const;

/**
 * A kernel that does nothing but the work: it takes the time of each kind and prints `ticks KIND HEX` lines. Timers are
 * set as Linux does it, by stimecmp where there is Sstc, by the firmware otherwise; so is output, by a hypercall where the
 * VMM is the firmware, by the 16550 otherwise.
 * @param paravirtual which of the two
 */
export function kernelSource(paravirtual: boolean): string {
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

  li s0, ${TIMES.timers}
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

  li s0, ${TIMES.selfIpis}
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

  li s0, ${TIMES.characters / 64}
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
