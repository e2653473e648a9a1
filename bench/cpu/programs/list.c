/* Linked lists whose nodes lie in no order: walked, searched, reversed and sorted by merging. */
#include "bench.h"
#include <stddef.h>

enum { NODES = 20000, ROUNDS = 110 };

struct node {
  struct node *next;
  uint32_t key;
  uint32_t count;
};

static struct node nodes[NODES];
static uint32_t order[NODES];

static struct node *reverse(struct node *list) {
  struct node *done = NULL;
  while (list != NULL) {
    struct node *next = list->next;
    list->next = done;
    done = list;
    list = next;
  }
  return done;
}

static struct node *merge(struct node *a, struct node *b) {
  struct node head;
  struct node *last = &head;
  while (a != NULL && b != NULL) {
    struct node **smaller = a->key <= b->key ? &a : &b;
    last->next = *smaller;
    last = *smaller;
    *smaller = last->next;
  }
  last->next = a != NULL ? a : b;
  return head.next;
}

static struct node *sort(struct node *list, uint32_t length) {
  if (length < 2) return list;
  struct node *middle = list;
  for (uint32_t i = 1; i < length / 2; i++) middle = middle->next;
  struct node *second = middle->next;
  middle->next = NULL;
  return merge(sort(list, length / 2), sort(second, length - length / 2));
}

int main(void) {
  uint32_t state = 7;
  for (uint32_t i = 0; i < NODES; i++) order[i] = i;
  for (uint32_t i = NODES - 1; i > 0; i--) {
    uint32_t j = random32(&state) % (i + 1);
    uint32_t other = order[i];
    order[i] = order[j];
    order[j] = other;
  }
  for (uint32_t i = 0; i + 1 < NODES; i++) nodes[order[i]].next = &nodes[order[i + 1]];
  struct node *list = &nodes[order[0]];
  uint64_t sum = SUM_START;
  for (int round = 0; round < ROUNDS; round++) {
    for (struct node *node = list; node != NULL; node = node->next) node->key = random32(&state) >> 8;
    list = sort(list, NODES);
    list = reverse(list);
    for (int search = 0; search < 20; search++) {
      uint32_t wanted = random32(&state) >> 8;
      struct node *node = list;
      while (node != NULL && node->key > wanted) node = node->next;
      if (node != NULL) sum = fold(sum, node->key + ++node->count);
    }
  }
  return report(sum);
}
