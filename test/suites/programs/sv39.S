        .include "common.S"
# Sv39: accessed and dirty bits, by page faults without Svadu and by the hardware with it; permissions, SUM, MXR.
        .equ    V, 1
        .equ    R, 2
        .equ    W, 4
        .equ    X, 8
        .equ    U, 16
        .equ    A, 64
        .equ    D, 128
main:   la      t0, handler
        csrw    mtvec, t0
        li      t0, -1
        csrw    pmpaddr0, t0
        li      t0, 0x1f
        csrw    pmpcfg0, t0
        # root[2]: the 1 GiB of RAM as it is; root[0] -> middle[0] -> low[1]: the page at 0x1000
        la      s0, root
        la      t1, middle
        srli    t1, t1, 2
        ori     t1, t1, V
        sd      t1, 0(s0)
        li      t1, (0x80000000 >> 2) | V | R | W | X | A | D
        sd      t1, 16(s0)
        la      t0, middle
        la      t1, low
        srli    t1, t1, 2
        ori     t1, t1, V
        sd      t1, 0(t0)
        la      s1, low
        addi    s1, s1, 8
        la      s2, page
        srli    s2, s2, 2
        srli    t0, s0, 12
        li      t1, 8
        slli    t1, t1, 60
        or      t0, t0, t1
        csrw    satp, t0
        sfence.vma
        li      s6, 0x1000

        # exact faults: Svadu off
        li      t0, 1
        slli    t0, t0, 61
        csrc    menvcfg, t0
        ori     t0, s2, V | R | W
        jal     ra, load
        li      t1, 13
        expect  2, s5, t1
        expect  3, s7, s6
        ld      t0, 0(s1)
        ori     t1, s2, V | R | W
        expect  4, t0, t1
        ori     t0, s2, V | R | W | A
        jal     ra, load
        li      t1, 9
        expect  5, s5, t1
        ori     t0, s2, V | R | W | A
        jal     ra, store
        li      t1, 15
        expect  6, s5, t1
        ori     t0, s2, V | R | W | A | D
        jal     ra, store
        li      t1, 9
        expect  7, s5, t1

        # updated by the hardware: Svadu on, where it is
        li      t0, 1
        slli    t0, t0, 61
        csrs    menvcfg, t0
        csrr    t1, menvcfg
        and     t1, t1, t0
        beqz    t1, permissions
        ori     t0, s2, V | R | W
        jal     ra, load
        li      t1, 9
        expect  8, s5, t1
        ld      t0, 0(s1)
        ori     t1, s2, V | R | W | A
        expect  9, t0, t1
        ori     t0, s2, V | R | W
        jal     ra, store
        li      t1, 9
        expect  10, s5, t1
        ld      t0, 0(s1)
        ori     t1, s2, V | R | W | A | D
        expect  11, t0, t1

permissions:
        ori     t0, s2, V | R | A | D
        jal     ra, store
        li      t1, 15
        expect  12, s5, t1
        # writable but not readable is reserved
        ori     t0, s2, V | W | A | D
        jal     ra, load
        li      t1, 13
        expect  13, s5, t1
        # a user page needs SUM
        ori     t0, s2, V | R | W | U | A | D
        jal     ra, load
        li      t1, 13
        expect  14, s5, t1
        li      t0, 1 << 18
        csrs    mstatus, t0
        ori     t0, s2, V | R | W | U | A | D
        jal     ra, load
        li      t1, 9
        expect  15, s5, t1
        # an executable page is readable with MXR
        ori     t0, s2, V | X | A | D
        jal     ra, load
        li      t1, 13
        expect  16, s5, t1
        li      t0, 1 << 19
        csrs    mstatus, t0
        ori     t0, s2, V | X | A | D
        jal     ra, load
        li      t1, 9
        expect  17, s5, t1
        # a large page that is not aligned
        la      t0, middle
        ld      s8, 0(t0)
        li      t1, (0x80001000 >> 2) | V | R | W | A | D
        sd      t1, 0(t0)
        ori     t0, s2, V
        jal     ra, load
        li      t1, 13
        expect  18, s5, t1
        pass

# Sets the entry to t0 and accesses the page in S-mode; cause in s5, value in s7.
load:   la      s4, supervisor_load
        j       1f
store:  la      s4, supervisor_store
1:      sd      t0, 0(s1)
        sfence.vma
        li      t0, 0x1800
        csrc    mstatus, t0
        li      t0, 0x0800
        csrs    mstatus, t0
        csrw    mepc, s4
        mret
supervisor_load:
        ld      t0, 0(s6)
        ecall
supervisor_store:
        sd      t0, 0(s6)
        ecall

        .balign 4
handler:
        csrr    s5, mcause
        csrr    s7, mtval
        jr      ra

        .bss
        .balign 4096
root:   .space  4096
middle: .space  4096
low:    .space  4096
page:   .space  4096
