        .include "common.S"
# Illegal instructions trap with their bits in mtval; mret comes back behind them.
main:   la      t0, handler
        csrw    mtvec, t0
        li      s0, 0
        .word   0xffffffff
        .half   0x0000, 0x0001
        csrr    t0, 0x5c0
        li      t1, 3
        expect  2, s0, t1
        # mtval of a write to a read-only CSR is the instruction too
bits:   csrw    mhartid, x0
        la      t0, bits
        lwu     t0, 0(t0)
        expect  3, t0, s1
        li      t1, 4
        expect  4, s0, t1
        # the float unit is off after a reset
        li      t0, 0x6000
        csrc    mstatus, t0
        fmv.x.d t1, fa0
        li      t1, 5
        expect  5, s0, t1
        pass

        .balign 4
handler:
        addi    s0, s0, 1
        csrr    t5, mcause
        li      t6, 2
        li      gp, 10
        bne     t5, t6, fail
        csrr    s1, mtval
        csrr    t5, mepc
        lbu     t6, 0(t5)
        andi    t6, t6, 3
        addi    t5, t5, 2
        addi    t6, t6, -3
        bnez    t6, 1f
        addi    t5, t5, 2
1:      csrw    mepc, t5
        mret
