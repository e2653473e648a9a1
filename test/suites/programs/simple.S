        .include "common.S"
# Passes, after some characters.
main:   la      s0, text
1:      lbu     t1, 0(s0)
        beqz    t1, 2f
        li      t2, 0x0101
        slli    t2, t2, 48
        or      t1, t1, t2
        la      t0, tohost
        sd      t1, 0(t0)
        # The host takes the character and clears the word.
3:      ld      t3, 0(t0)
        bnez    t3, 3b
        addi    s0, s0, 1
        j       1b
2:      pass
        .data
text:   .asciz  "hello, host\n"
