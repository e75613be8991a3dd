/* roi: the region of interest from a shell, and the exit status of the whole emulator.
 *   roi begin | end | reset | dump      roi mark NUMBER      roi exit STATUS      roi run COMMAND [ARGUMENT...]
 * `run` brackets one command: everything that happens from its start to its end, kernel and fork included. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nestwalk.h"

static int usage(void) {
  fputs("usage: roi begin|end|reset|dump | roi mark NUMBER | roi exit STATUS | roi run COMMAND [ARGUMENT...]\n", stderr);
  return 2;
}

static int number(const char* text, unsigned long* value) {
  char* end;
  errno = 0;
  *value = strtoul(text, &end, 0);
  return errno == 0 && end != text && *end == 0;
}

static int run(char** command) {
  int status;
  nestwalk_roi_begin();
  pid_t child = fork();
  if (child == 0) {
    execvp(command[0], command);
    fprintf(stderr, "roi: %s: %s\n", command[0], strerror(errno));
    _exit(127);
  }
  if (child < 0 || waitpid(child, &status, 0) < 0) {
    nestwalk_roi_end();
    perror("roi");
    return 126;
  }
  nestwalk_roi_end();
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The debug-exit port ends the emulation; on a machine without one nothing happens. */
static int leave(unsigned long status) {
  if (ioperm(0xf4, 1, 1) != 0) {
    perror("roi: port 0xf4");
    return 1;
  }
  outb((unsigned char)status, 0xf4);
  return 0;
}

int main(int argc, char** argv) {
  unsigned long value;
  if (argc < 2) return usage();
  const char* verb = argv[1];
  if (argc == 2 && !strcmp(verb, "begin")) {
    nestwalk_roi_begin();
  } else if (argc == 2 && !strcmp(verb, "end")) {
    nestwalk_roi_end();
  } else if (argc == 2 && !strcmp(verb, "reset")) {
    nestwalk_reset();
  } else if (argc == 2 && !strcmp(verb, "dump")) {
    nestwalk_dump();
  } else if (argc == 3 && !strcmp(verb, "mark") && number(argv[2], &value)) {
    nestwalk_marker((unsigned)value);
  } else if (argc == 3 && !strcmp(verb, "exit") && number(argv[2], &value)) {
    return leave(value);
  } else if (argc >= 3 && !strcmp(verb, "run")) {
    return run(argv + 2);
  } else {
    return usage();
  }
  return 0;
}
