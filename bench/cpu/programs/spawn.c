/* spawn COUNT COMMAND ARGUMENT...: runs a command again and again, each time in a process of its own. */
#include "bench.h"
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **words) {
  if (count < 3) return 2;
  int processes = atoi(words[1]), ended = 0;
  for (int i = 0; i < processes; i++) {
    pid_t child = fork();
    if (child == 0) {
      execv(words[2], words + 2);
      _exit(127);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return 1;
    ended++;
  }
  return report(ended);
}
