/* XXH64 (the xxHash specification, 0.1.1) of whole stripes of 32 bytes, the hash being the seed of the next round. */
#include "bench.h"
#include <string.h>

enum { LENGTH = 1 << 20, ROUNDS = 3200 };

#define P1 0x9e3779b185ebca87ull
#define P2 0xc2b2ae3d27d4eb4full
#define P3 0x165667b19e3779f9ull
#define P4 0x85ebca77c2b2ae63ull

static uint8_t data[LENGTH] __attribute__((aligned(8)));

static inline uint64_t rotate(uint64_t x, int n) {
  return x << n | x >> (64 - n);
}

static inline uint64_t lane(uint64_t sum, const uint8_t *bytes) {
  uint64_t word;
  memcpy(&word, bytes, sizeof word);
  return rotate(sum + word * P2, 31) * P1;
}

static inline uint64_t merge(uint64_t hash, uint64_t sum) {
  return (hash ^ rotate(sum * P2, 31) * P1) * P1 + P4;
}

/* The data must be aligned to 8 bytes for the compiler to load words. */
static uint64_t xxh64(const uint8_t *bytes, uint64_t length, uint64_t seed) {
  uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
  bytes = __builtin_assume_aligned(bytes, 8);
  for (uint64_t at = 0; at + 32 <= length; at += 32) {
    a = lane(a, __builtin_assume_aligned(bytes + at, 8));
    b = lane(b, __builtin_assume_aligned(bytes + at + 8, 8));
    c = lane(c, __builtin_assume_aligned(bytes + at + 16, 8));
    d = lane(d, __builtin_assume_aligned(bytes + at + 24, 8));
  }
  uint64_t hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
  hash = merge(merge(merge(merge(hash, a), b), c), d) + length;
  hash = (hash ^ hash >> 33) * P2;
  hash = (hash ^ hash >> 29) * P3;
  return hash ^ hash >> 32;
}

int main(void) {
  uint32_t state = 9;
  for (int i = 0; i < LENGTH; i++) data[i] = random32(&state);
  uint64_t hash = 0;
  for (int round = 0; round < ROUNDS; round++) hash = xxh64(data, LENGTH, hash);
  return report(hash);
}
