/* The sieve of Eratosthenes over bytes. */
#include "bench.h"
#include <string.h>

enum { LIMIT = 1 << 20, ROUNDS = 75 };

static uint8_t composite[LIMIT];

int main(void) {
  uint64_t sum = SUM_START;
  for (int round = 0; round < ROUNDS; round++) {
    memset(composite, 0, sizeof composite);
    int limit = LIMIT - round;
    for (int i = 2; i * i < limit; i++) {
      if (composite[i]) continue;
      for (int j = i * i; j < limit; j += i) composite[j] = 1;
    }
    int primes = 0;
    for (int i = 2; i < limit; i++) primes += !composite[i];
    sum = fold(sum, primes);
  }
  return report(sum);
}
