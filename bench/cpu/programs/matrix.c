/* Products of integer matrices, each made of the one before. */
#include "bench.h"

enum { SIZE = 120, ROUNDS = 260 };

static int32_t a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];

static void multiply(void) {
  for (int i = 0; i < SIZE; i++) {
    for (int j = 0; j < SIZE; j++) {
      int32_t sum = 0;
      for (int k = 0; k < SIZE; k++) sum += a[i][k] * b[k][j];
      c[i][j] = sum;
    }
  }
}

int main(void) {
  uint32_t state = 1;
  for (int i = 0; i < SIZE; i++) {
    for (int j = 0; j < SIZE; j++) {
      a[i][j] = random32(&state) & 0xff;
      b[i][j] = random32(&state) & 0xff;
    }
  }
  uint64_t sum = SUM_START;
  for (int round = 0; round < ROUNDS; round++) {
    multiply();
    for (int i = 0; i < SIZE; i++) {
      for (int j = 0; j < SIZE; j++) a[i][j] = (c[i][j] >> 7) & 0xff;
    }
    sum = fold(sum, (uint32_t)c[round % SIZE][SIZE / 2]);
  }
  return report(sum);
}
