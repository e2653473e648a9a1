/* A dense system of linear equations in double precision: factored with partial pivoting, and solved. */
#include "bench.h"
#include <math.h>
#include <string.h>

enum { SIZE = 160, ROUNDS = 45 };

static double a[SIZE][SIZE], b[SIZE];
static int pivots[SIZE];

/* y += factor * x */
static void axpy(int length, double factor, const double *x, double *y) {
  for (int i = 0; i < length; i++) y[i] += factor * x[i];
}

/* Leaves the factors in a, whose rows are the columns of the system's matrix. */
static void factor(void) {
  for (int k = 0; k < SIZE; k++) {
    int pivot = k;
    for (int i = k + 1; i < SIZE; i++) {
      if (fabs(a[k][i]) > fabs(a[k][pivot])) pivot = i;
    }
    pivots[k] = pivot;
    for (int j = k; j < SIZE; j++) {
      double other = a[j][pivot];
      a[j][pivot] = a[j][k];
      a[j][k] = other;
    }
    for (int i = k + 1; i < SIZE; i++) a[k][i] /= -a[k][k];
    for (int j = k + 1; j < SIZE; j++) axpy(SIZE - k - 1, a[j][k], &a[k][k + 1], &a[j][k + 1]);
  }
}

/* Makes the solution of b. */
static void solve(void) {
  for (int k = 0; k < SIZE; k++) {
    double value = b[pivots[k]];
    b[pivots[k]] = b[k];
    b[k] = value;
    axpy(SIZE - k - 1, value, &a[k][k + 1], &b[k + 1]);
  }
  for (int k = SIZE - 1; k >= 0; k--) {
    b[k] /= a[k][k];
    axpy(k, -b[k], a[k], b);
  }
}

int main(void) {
  uint32_t state = 23;
  uint64_t sum = SUM_START;
  for (int round = 0; round < ROUNDS; round++) {
    /* Every right side is the sum of its row, so that every unknown is 1. */
    memset(b, 0, sizeof b);
    for (int j = 0; j < SIZE; j++) {
      for (int i = 0; i < SIZE; i++) {
        a[j][i] = random32(&state) / 4294967296.0 - 0.5;
        b[i] += a[j][i];
      }
    }
    factor();
    solve();
    for (int i = 0; i < SIZE; i++) {
      if (fabs(b[i] - 1) > 1e-8) return 1;
      uint64_t bits;
      memcpy(&bits, &b[i], sizeof bits);
      sum = fold(sum, bits);
    }
  }
  return report(sum);
}
