/* Functions that call themselves: Fibonacci's numbers, Ackermann's function, and queens on a board. */
#include "bench.h"

enum { FIBONACCI = 36, ACKERMANN = 9, QUEENS = 10 };

/* Not inlined into itself: it is calls that are measured. */
__attribute__((noinline, optimize("no-inline", "no-optimize-sibling-calls"))) static uint64_t fibonacci(int n) {
  return n < 2 ? (uint64_t)n : fibonacci(n - 1) + fibonacci(n - 2);
}

__attribute__((noinline)) static uint64_t ackermann(uint64_t m, uint64_t n) {
  if (m == 0) return n + 1;
  if (n == 0) return ackermann(m - 1, 1);
  return ackermann(m - 1, ackermann(m, n - 1));
}

/* Ways to place queens in the rows from `row` on, beside columns and diagonals that are taken. */
__attribute__((noinline)) static uint64_t queens(int row, uint32_t columns, uint32_t left, uint32_t right) {
  if (row == QUEENS) return 1;
  uint64_t ways = 0;
  for (int column = 0; column < QUEENS; column++) {
    uint32_t bit = 1u << column;
    if ((columns | left | right) & bit) continue;
    ways += queens(row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1);
  }
  return ways;
}

int main(void) {
  uint64_t sum = fold(SUM_START, fibonacci(FIBONACCI));
  for (int i = 0; i < ACKERMANN; i++) sum = fold(sum, ackermann(3, i));
  for (int i = 0; i < 12; i++) sum = fold(sum, queens(0, 0, 0, 0));
  return report(sum);
}
