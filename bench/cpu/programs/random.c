/* Words of 64 MB read and written in no order: each address comes of what was read before. */
#include "bench.h"
#include <stdlib.h>

enum { BYTES = 64 << 20, WORDS = BYTES / 8, STEPS = 4000000 };

int main(void) {
  uint64_t *words = malloc(BYTES);
  if (words == NULL) return 1;
  for (uint64_t i = 0; i < WORDS; i++) words[i] = i * 0x9e3779b97f4a7c15ull;
  uint64_t at = 1;
  for (int step = 0; step < STEPS; step++) {
    uint64_t *word = &words[at >> 20 & (WORDS - 1)];
    at = (at ^ *word) * 0xd1342543de82ef95ull + 1;
    *word = at;
  }
  return report(at);
}
