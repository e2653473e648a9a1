/*
 * measure FILE COMMAND ARGUMENT...: runs the command with its output going to the file, and prints the seconds that it
 * took from the fork to the end, and its exit status (128 and the signal for a command that one ended).
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec * 1e-9;
}

int main(int count, char **words) {
  if (count < 3) {
    fprintf(stderr, "measure: give a file and a command\n");
    return 2;
  }
  double start = now();
  pid_t child = fork();
  if (child == 0) {
    int output = open(words[1], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (output < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) _exit(126);
    execvp(words[2], words + 2);
    perror(words[2]);
    _exit(127);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child) {
    perror("measure");
    return 2;
  }
  double seconds = now() - start;
  printf("%.6f %d\n", seconds, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  return 0;
}
