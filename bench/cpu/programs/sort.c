/* Numbers sorted by exchanging around a pivot (quicksort), and by a heap. */
#include "bench.h"

enum { LENGTH = 100000, ROUNDS = 60 };

static uint32_t numbers[LENGTH];

static void quicksort(uint32_t *first, uint32_t *last) {
  while (last - first > 16) {
    uint32_t pivot = first[(last - first) / 2];
    uint32_t *i = first, *j = last;
    while (i <= j) {
      while (*i < pivot) i++;
      while (*j > pivot) j--;
      if (i > j) break;
      uint32_t other = *i;
      *i++ = *j;
      *j-- = other;
    }
    quicksort(first, j);
    first = i;
  }
  for (uint32_t *i = first + 1; i <= last; i++) {
    uint32_t value = *i;
    uint32_t *j = i;
    for (; j > first && j[-1] > value; j--) *j = j[-1];
    *j = value;
  }
}

static void sink(uint32_t *heap, uint32_t at, uint32_t length) {
  uint32_t value = heap[at];
  for (uint32_t child = 2 * at + 1; child < length; child = 2 * at + 1) {
    if (child + 1 < length && heap[child + 1] > heap[child]) child++;
    if (heap[child] <= value) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = value;
}

static void heapsort(uint32_t *heap, uint32_t length) {
  for (uint32_t i = length / 2; i-- > 0;) sink(heap, i, length);
  while (length-- > 1) {
    uint32_t largest = heap[0];
    heap[0] = heap[length];
    heap[length] = largest;
    sink(heap, 0, length);
  }
}

int main(void) {
  uint32_t state = 17;
  uint64_t sum = SUM_START;
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < LENGTH; i++) numbers[i] = random32(&state);
    if (round % 3 == 0) heapsort(numbers, LENGTH);
    else quicksort(numbers, numbers + LENGTH - 1);
    for (int i = 1; i < LENGTH; i++) {
      if (numbers[i - 1] > numbers[i]) return 1;
    }
    sum = fold(sum, numbers[round * 1000]);
  }
  return report(sum);
}
