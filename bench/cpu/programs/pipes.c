/* Two processes: a byte goes to and fro (two switches of context each time), then blocks go one way. */
#include "bench.h"
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 6000, BLOCK = 4096, BLOCKS = 6000 };

static uint8_t block[BLOCK];

static void need(int condition) {
  if (!condition) _exit(1);
}

static void read_all(int file, uint8_t *bytes, ssize_t length) {
  for (ssize_t done = 0; done < length;) {
    ssize_t some = read(file, bytes + done, length - done);
    need(some > 0);
    done += some;
  }
}

static void answer(int input, int output) {
  uint8_t byte;
  for (int i = 0; i < ROUNDS; i++) {
    read_all(input, &byte, 1);
    byte = byte * 5 + 1;
    need(write(output, &byte, 1) == 1);
  }
  for (int i = 0; i < BLOCKS; i++) {
    memset(block, i, sizeof block);
    block[0] = byte;
    need(write(output, block, BLOCK) == BLOCK);
  }
  _exit(0);
}

int main(void) {
  int there[2], back[2];
  need(pipe(there) == 0 && pipe(back) == 0);
  pid_t child = fork();
  need(child >= 0);
  if (child == 0) answer(there[0], back[1]);
  uint64_t sum = SUM_START;
  uint8_t byte = 1;
  for (int i = 0; i < ROUNDS; i++) {
    need(write(there[1], &byte, 1) == 1);
    read_all(back[0], &byte, 1);
    sum = fold(sum, byte);
  }
  for (int i = 0; i < BLOCKS; i++) {
    read_all(back[0], block, BLOCK);
    sum = fold(sum, block[0] + block[i % BLOCK]);
  }
  int status;
  need(waitpid(child, &status, 0) == child && status == 0);
  return report(sum);
}
