        .include "common.S"
# Without an entry U-mode has nothing; entries grant, order counts, locked ones bind M-mode and stay.
main:   la      t0, handler
        csrw    mtvec, t0
        la      s0, page
        # no entries: the fetch in U-mode is denied
        csrw    pmpcfg0, x0
        li      s3, 1
        la      s4, user
        jal     ra, run_user
        expect  2, s5, s3
        # everything allowed by entry 1, the page denied by entry 0
        srli    t0, s0, 2
        ori     t0, t0, 0x1ff
        csrw    pmpaddr0, t0
        li      t0, -1
        csrw    pmpaddr1, t0
        li      t0, 0x1f18
        csrw    pmpcfg0, t0
        li      s3, 5
        jal     ra, run_user
        expect  3, s5, s3
        csrr    t1, mtval
        expect  4, t1, s0
        # M-mode reads it all the same
        ld      t0, 0(s0)
        li      t1, 42
        expect  5, t0, t1
        # read only for U-mode: the load is done, the store is denied
        li      t0, 0x1f19
        csrw    pmpcfg0, t0
        li      s3, 7
        jal     ra, run_user
        expect  6, s5, s3
        # read and write: U-mode comes to its ecall
        li      t0, 0x1f1b
        csrw    pmpcfg0, t0
        li      s3, 8
        jal     ra, run_user
        expect  7, s5, s3
        # locked: M-mode may not write any more, and the entry can't be changed
        li      t0, 0x1f99
        csrw    pmpcfg0, t0
        csrw    pmpcfg0, x0
        csrr    t0, pmpcfg0
        li      t1, 0x99
        expect  8, t0, t1
        csrw    pmpaddr0, x0
        csrr    t0, pmpaddr0
        srli    t1, s0, 2
        ori     t1, t1, 0x1ff
        expect  9, t0, t1
        la      ra, 1f
        sd      x0, 0(s0)
1:      li      t1, 7
        expect  10, s5, t1
        ld      t0, 0(s0)
        li      t1, 43
        expect  11, t0, t1
        pass

# Enters U-mode at s4; the handler comes back to ra with the cause in s5.
run_user:
        li      t0, 0x1800
        csrc    mstatus, t0
        csrw    mepc, s4
        mret

user:   ld      t0, 0(s0)
        addi    t0, t0, 1
        sd      t0, 0(s0)
        ecall

        .balign 4
handler:
        csrr    s5, mcause
        jr      ra

        .data
        .balign 4096
page:   .dword  42
        .space  4088
