        .include "common.S"
# Misaligned loads and stores work; misaligned LR and AMO trap.
main:   la      s0, data
        ld      t0, 1(s0)
        li      t1, 0x0807060504030201
        expect  2, t0, t1
        lw      t0, 3(s0)
        li      t1, 0x06050403
        expect  3, t0, t1
        la      s1, page_end
        li      t2, 0x1122334455667788
        sd      t2, -3(s1)
        ld      t3, -3(s1)
        expect  4, t3, t2
        lbu     t0, -1(s1)
        li      t1, 0x66
        expect  5, t0, t1
        lbu     t0, 0(s1)
        li      t1, 0x55
        expect  6, t0, t1
        la      t0, handler
        csrw    mtvec, t0
        addi    s2, s0, 2
        li      s3, 4
        lr.w    t0, (s2)
        li      s3, 6
        amoadd.w t0, t1, (s2)
        li      t1, 2
        expect  7, s4, t1
        # A jump to an odd halfword is aligned where there is C.
        la      t0, 1f
        jr      t0
        .option push
        .option rvc
        c.nop
1:      c.nop
        c.nop
        c.nop
        .option pop
        pass

        .balign 4
handler:
        csrr    t5, mcause
        li      gp, 11
        bne     t5, s3, fail
        csrr    t5, mtval
        li      gp, 12
        bne     t5, s2, fail
        addi    s4, s4, 1
        csrr    t5, mepc
        addi    t5, t5, 4
        csrw    mepc, t5
        mret
        .data
        .balign 8
data:   .byte   0, 1, 2, 3, 4, 5, 6, 7, 8, 9
        .balign 4096
        .space  4096
page_end:
        .space  64
