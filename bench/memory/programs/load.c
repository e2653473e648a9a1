/*
 * A load whose memory is known: load ANONYMOUS [DEVICE FILE], amounts in MiB. It fills its anonymous memory, half of each
 * page with what does not compress, and maps the first part of a disk. Then it takes lines: "work PERCENT" has it use that part
 * of its memory, page by page at random with some arithmetic between, "rest" has it wait, and "touch" has it use all of its memory
 * once, changing what is its own, and wait. While it works it says now and then
 * how many pages it has used so far, and how many microseconds have gone, of them into the arithmetic.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define MIB (1 << 20)
/* Uses between two looks at the input, and between two reports. */
#define BATCH 32
#define REPORT 2048
/* Rounds of arithmetic for each page that is used. */
#define ROUNDS 3000

static uint64_t state = 88172645463325252ull;

/* Marsaglia's xorshift of 64 bits. */
static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static uint64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void *map(size_t bytes, int protection, int flags, int file) {
  void *memory = mmap(NULL, bytes, protection, flags, file, 0);
  if (memory == MAP_FAILED) {
    perror("load: mmap");
    exit(1);
  }
  return memory;
}

int main(int count, char **words) {
  if (count != 2 && count != 4) {
    fprintf(stderr, "usage: load ANONYMOUS [DEVICE FILE]\n");
    return 2;
  }
  size_t anonymous = strtoul(words[1], NULL, 10) * MIB / PAGE;
  size_t mapped = count == 4 ? strtoul(words[3], NULL, 10) * MIB / PAGE : 0;
  /* Guests must not have the same pages by chance. */
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  state ^= (uint64_t)now.tv_nsec << 20 ^ (uint64_t)now.tv_sec;
  uint64_t *own = map(anonymous * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  for (size_t page = 0; page < anonymous; page++)
    for (size_t word = 0; word < PAGE / 16; word++) own[page * (PAGE / 8) + word] = next();
  const uint64_t *file = NULL;
  if (mapped > 0) {
    int device = open(words[2], O_RDONLY);
    if (device < 0) {
      perror("load: open");
      return 1;
    }
    file = map(mapped * PAGE, PROT_READ, MAP_SHARED, device);
    /* A page at a time: what is read ahead would come as a surprise. */
    madvise((void *)file, mapped * PAGE, MADV_RANDOM);
  }
  uint64_t sum = 0;
  for (size_t page = 0; page < mapped; page++) sum += file[page * (PAGE / 8)];
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("ready\n");
  char line[64];
  size_t filled = 0;
  unsigned percent = 0;
  uint64_t done = 0, arithmetic = 0, worked = 0, last = 0;
  for (;;) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    if (poll(&input, 1, percent == 0 ? -1 : 0) > 0) {
      if (read(0, line + filled, 1) != 1) return 0;
      if (line[filled] != '\n' && filled + 2 < sizeof line) {
        filled++;
        continue;
      }
      line[filled] = 0;
      filled = 0;
      if (sscanf(line, "work %u", &percent) != 1) percent = 0;
      if (strcmp(line, "touch") == 0) {
        for (size_t page = 0; page < anonymous; page++) own[page * (PAGE / 8)]++;
        for (size_t page = 0; page < mapped; page++) sum += file[page * (PAGE / 8)];
      }
      printf("%s\n", percent > 0 ? "works" : "rests");
      last = nanoseconds();
    }
    if (percent == 0) continue;
    size_t usable = (anonymous + mapped) * percent / 100;
    for (int i = 0; i < BATCH; i++) {
      /* The active part is the same part of both. */
      size_t page = next() % usable;
      size_t owned = anonymous * percent / 100;
      if (page < owned) {
        uint64_t *place = own + page * (PAGE / 8);
        sum += place[next() % (PAGE / 8)];
        place[PAGE / 8 - 1] += sum;
      } else if (mapped > 0) {
        size_t end = mapped * percent / 100;
        sum += file[(page - owned) % (end > 0 ? end : 1) * (PAGE / 8) + next() % (PAGE / 8)];
      }
    }
    uint64_t used = nanoseconds();
    for (int round = 0; round < BATCH * ROUNDS; round++) sum = (sum ^ next()) * 0x100000001b3ull;
    uint64_t end = nanoseconds();
    arithmetic += end - used;
    worked += end - last;
    last = end;
    done += BATCH;
    if (done % REPORT == 0)
      printf("used %llu in %llu, %llu %x\n", (unsigned long long)done, (unsigned long long)(worked / 1000),
             (unsigned long long)(arithmetic / 1000), (unsigned)(sum & 1));
  }
}
