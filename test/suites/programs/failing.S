        .include "common.S"
# Fails on purpose: its exit status is the number of the check.
main:   li      t0, 1
        li      t1, 2
        expect  7, t0, t1
        pass
