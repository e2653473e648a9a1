/*
 * What embedded programs spend their time on, in turns and each on the results of the one before: a list that is
 * searched and sorted, a small matrix of 16-bit numbers, a state machine over text, and a CRC over all results.
 */
#include "bench.h"
#include <stddef.h>

enum { ITEMS = 40, SIZE = 12, TEXT = 400, ROUNDS = 80000 };

struct item {
  struct item *next;
  int16_t value;
  uint16_t index;
};

static struct item items[ITEMS];
static int16_t left[SIZE][SIZE], right[SIZE][SIZE];
static char text[TEXT + 1];

static uint16_t crc16(uint16_t crc, uint16_t value) {
  for (int bit = 0; bit < 16; bit++, value >>= 1) {
    int carry = (crc ^ value) & 1;
    crc >>= 1;
    if (carry) crc ^= 0xa001;
  }
  return crc;
}

static struct item *insert(struct item *list, struct item *item, int by_index) {
  struct item **at = &list;
  while (*at != NULL && (by_index ? (*at)->index < item->index : (*at)->value < item->value)) at = &(*at)->next;
  item->next = *at;
  *at = item;
  return list;
}

static struct item *sort(struct item *list, int by_index) {
  struct item *sorted = NULL;
  while (list != NULL) {
    struct item *next = list->next;
    sorted = insert(sorted, list, by_index);
    list = next;
  }
  return sorted;
}

static uint16_t lists(struct item **list, uint16_t seed) {
  uint16_t found = 0;
  for (uint16_t i = 0; i < 8; i++) {
    uint16_t wanted = (seed + 5 * i) % ITEMS;
    for (struct item *item = *list; item != NULL; item = item->next) {
      if (item->index != wanted) continue;
      found += item->value;
      item->value = (int16_t)(item->value * 7 + seed);
      break;
    }
  }
  *list = sort(*list, 0);
  found += (*list)->index;
  *list = sort(*list, 1);
  return found;
}

static uint16_t matrices(int16_t seed) {
  int32_t sum = 0;
  for (int i = 0; i < SIZE; i++) {
    for (int j = 0; j < SIZE; j++) {
      int32_t product = 0;
      for (int k = 0; k < SIZE; k++) product += left[i][k] * right[k][j];
      sum += (product >> 2 & 0xf) * (product >> 5 & 0x7f);
    }
    left[i][seed & 7] += seed;
  }
  return (uint16_t)sum;
}

/* Counts of words, numbers and other things between commas. */
static uint16_t states(uint16_t seed) {
  uint16_t counts[3] = {0};
  enum { NOTHING, NUMBER, WORD, OTHER } state = NOTHING;
  for (const char *at = text; *at != 0; at++) {
    char c = *at;
    if (c == ',') {
      if (state != NOTHING) counts[state - 1]++;
      state = NOTHING;
      continue;
    }
    switch (state) {
      case NOTHING: state = c >= '0' && c <= '9' ? NUMBER : c >= 'a' && c <= 'z' ? WORD : OTHER; break;
      case NUMBER: if (c < '0' || c > '9') state = OTHER; break;
      case WORD: if (c < 'a' || c > 'z') state = OTHER; break;
      case OTHER: break;
    }
  }
  text[seed % TEXT] = "0a,7b-"[seed % 6];
  return counts[0] * 3 + counts[1] * 5 + counts[2] * 7;
}

int main(void) {
  uint32_t random = 19;
  struct item *list = NULL;
  for (int i = 0; i < ITEMS; i++) {
    items[i].value = random32(&random);
    items[i].index = i;
    list = insert(list, &items[i], 1);
  }
  for (int i = 0; i < SIZE * SIZE; i++) {
    left[i / SIZE][i % SIZE] = random32(&random) & 0xff;
    right[i / SIZE][i % SIZE] = random32(&random) & 0xff;
  }
  for (int i = 0; i < TEXT; i++) text[i] = "0123456789abcdefghij,,,,--"[random32(&random) % 26];
  uint16_t crc = 0;
  uint64_t sum = SUM_START;
  for (int round = 0; round < ROUNDS; round++) {
    crc = crc16(crc, lists(&list, crc));
    crc = crc16(crc, matrices(crc));
    crc = crc16(crc, states(crc));
    sum = fold(sum, crc);
  }
  return report(sum);
}
