# What all programs share: start, a trap vector that each program sets, pass and fail through the host-target interface.
        .option norvc
        .macro  pass
        li      a0, 1
        j       leave
        .endm

        # Fails with a number unless two registers are equal.
        .macro  expect number, register, other
        li      gp, \number
        bne     \register, \other, fail
        .endm

        .section .text.start, "ax"
        .globl  _start
_start: la      t0, unexpected
        csrw    mtvec, t0
        la      sp, stack
        j       main

        .balign 4
unexpected:
        li      gp, 99
fail:   slli    a0, gp, 1
        ori     a0, a0, 1
leave:  la      t0, tohost
        sd      a0, 0(t0)
1:      j       1b

        .section .tohost, "aw", @progbits
        .balign 64
        .globl  tohost
tohost: .dword  0
        .balign 64
        .globl  fromhost
fromhost: .dword 0

        .bss
        .balign 16
        .space  4096
stack:
        .text
