/* Bodies that attract each other, in double precision: the sun, and planets on orbits that are circles at first. */
#include "bench.h"
#include <math.h>
#include <string.h>

enum { BODIES = 5, STEPS = 400000 };

struct body {
  double x, y, z, vx, vy, vz, mass;
};

static struct body bodies[BODIES];

static void advance(double dt) {
  for (int i = 0; i < BODIES; i++) {
    struct body *a = &bodies[i];
    for (int j = i + 1; j < BODIES; j++) {
      struct body *b = &bodies[j];
      double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
      double square = dx * dx + dy * dy + dz * dz;
      double pull = dt / (square * sqrt(square));
      a->vx -= dx * b->mass * pull;
      a->vy -= dy * b->mass * pull;
      a->vz -= dz * b->mass * pull;
      b->vx += dx * a->mass * pull;
      b->vy += dy * a->mass * pull;
      b->vz += dz * a->mass * pull;
    }
  }
  for (int i = 0; i < BODIES; i++) {
    struct body *a = &bodies[i];
    a->x += dt * a->vx;
    a->y += dt * a->vy;
    a->z += dt * a->vz;
  }
}

static double energy(void) {
  double sum = 0;
  for (int i = 0; i < BODIES; i++) {
    struct body *a = &bodies[i];
    sum += a->mass * (a->vx * a->vx + a->vy * a->vy + a->vz * a->vz) / 2;
    for (int j = i + 1; j < BODIES; j++) {
      struct body *b = &bodies[j];
      double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
      sum -= a->mass * b->mass / sqrt(dx * dx + dy * dy + dz * dz);
    }
  }
  return sum;
}

int main(void) {
  bodies[0].mass = 1;
  for (int i = 1; i < BODIES; i++) {
    double distance = 1.5 * i, speed = sqrt(1 / distance), angle = 1.1 * i;
    bodies[i] = (struct body){distance * cos(angle), distance * sin(angle), 0.01 * i,
                              -speed * sin(angle),   speed * cos(angle),    0,       1e-4 * i};
  }
  double before = energy();
  uint64_t sum = SUM_START;
  for (int step = 0; step < STEPS; step++) {
    advance(0.001);
    if (step % 1000 == 0) {
      uint64_t bits;
      memcpy(&bits, &bodies[step / 1000 % BODIES].x, sizeof bits);
      sum = fold(sum, bits);
    }
  }
  if (fabs(energy() - before) > 1e-4 * fabs(before)) return 1;
  return report(sum);
}
