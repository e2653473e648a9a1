/* 64 MB copied, by the C library and back to front by hand. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>

enum { BYTES = 64 << 20, WORDS = BYTES / 8, ROUNDS = 4 };

int main(void) {
  uint64_t *from = malloc(BYTES), *to = malloc(BYTES);
  if (from == NULL || to == NULL) return 1;
  uint32_t state = 29;
  for (int i = 0; i < WORDS; i++) from[i] = (uint64_t)random32(&state) << 32 | i;
  uint64_t sum = SUM_START;
  for (int round = 0; round < ROUNDS; round++) {
    memcpy(to, from, BYTES);
    to[round] ^= round;
    for (int i = 0; i < WORDS; i++) from[WORDS - 1 - i] = to[i];
    sum = fold(sum, from[WORDS / 3 + round]);
  }
  return report(sum);
}
