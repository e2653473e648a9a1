/* What the programs of the benchmark have in common: numbers that are the same everywhere, and how a result is told. */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <stdio.h>

/* Marsaglia's xorshift of 32 bits; the state must not be 0. */
static inline uint32_t random32(uint32_t *state) {
  uint32_t x = *state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return *state = x;
}

/* Takes a value into a checksum (the step of FNV-1a, on words). */
static inline uint64_t fold(uint64_t sum, uint64_t value) {
  return (sum ^ value) * 0x100000001b3ull;
}

#define SUM_START 0xcbf29ce484222325ull

/* Prints the checksum, the program's result. */
static inline int report(uint64_t sum) {
  printf("%016llx\n", (unsigned long long)sum);
  return 0;
}

#endif
