/* Calls through pointers: a machine whose instructions are functions, and objects with methods of their own. */
#include "bench.h"

enum { PROGRAM = 256, ROUNDS = 110000, OBJECTS = 64 };

struct machine {
  uint64_t a, b;
};

typedef void (*operation)(struct machine *);

static void add(struct machine *m) { m->a += m->b; }
static void subtract(struct machine *m) { m->b -= m->a; }
static void exchange(struct machine *m) {
  uint64_t a = m->a;
  m->a = m->b;
  m->b = a;
}
static void shift(struct machine *m) { m->a ^= m->a >> 7; }
static void multiply(struct machine *m) { m->b *= 0x9e3779b97f4a7c15ull; }
static void mix(struct machine *m) { m->a ^= m->b << 9; }
static void count(struct machine *m) { m->a++; }
static void invert(struct machine *m) { m->b = ~m->b; }

static const operation operations[] = {add, subtract, exchange, shift, multiply, mix, count, invert};

struct object {
  uint32_t (*area)(const struct object *);
  uint32_t width, height;
};

static uint32_t rectangle(const struct object *o) { return o->width * o->height; }
static uint32_t triangle(const struct object *o) { return o->width * o->height / 2; }
static uint32_t frame(const struct object *o) { return 2 * (o->width + o->height); }

int main(void) {
  static operation program[PROGRAM];
  static struct object objects[OBJECTS];
  uint32_t (*const areas[])(const struct object *) = {rectangle, triangle, frame};
  uint32_t state = 13;
  for (int i = 0; i < PROGRAM; i++) program[i] = operations[random32(&state) % 8];
  for (int i = 0; i < OBJECTS; i++) {
    objects[i].area = areas[random32(&state) % 3];
    objects[i].width = random32(&state) & 0xff;
    objects[i].height = random32(&state) & 0xff;
  }
  struct machine machine = {1, 2};
  uint64_t sum = SUM_START;
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < PROGRAM; i++) program[i](&machine);
    uint32_t area = 0;
    for (int i = 0; i < OBJECTS; i++) area += objects[i].area(&objects[i]);
    objects[round % OBJECTS].width = machine.a & 0xff;
    sum = fold(sum, area);
  }
  return report(fold(sum, machine.a));
}
