/* shootdown THREADS ROUNDS: threads of one process on several processors, one of which keeps changing the pages that all of
 * them use: it maps others over them, takes and gives write rights, discards them, forks. Whoever then reads an old page, or
 * loses a count, is told. A kernel that runs this sends an interrupt for every change (TLB shootdown). The result depends on
 * the arguments alone. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 8, MOST = 64 };

static volatile unsigned long* area;
static unsigned threads, rounds;
static unsigned long expected; /* what every page holds in this round */
static unsigned round_number, answers, wrong;
static unsigned long added;

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static void check_pages(void) {
  for (unsigned p = 0; p < PAGES; ++p)
    if (area[p * PAGE / sizeof *area] != expected) __atomic_add_fetch(&wrong, 1, __ATOMIC_SEQ_CST);
}

/* Not for ever: there may be fewer processors than threads. */
static void wait_a_little(void) {
  static __thread unsigned tries;
  if (++tries % 64) __builtin_ia32_pause();
  else sched_yield();
}

static void* work(void* unused) {
  for (unsigned seen = 0; seen < rounds;) {
    while (__atomic_load_n(&round_number, __ATOMIC_SEQ_CST) == seen) wait_a_little();
    ++seen;
    check_pages();
    for (unsigned n = 0; n < 100; ++n) __atomic_add_fetch(&added, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&answers, 1, __ATOMIC_SEQ_CST);
  }
  return unused;
}

static void* map_area(int flags) {
  void* const at = mmap((void*)area, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  if (at == MAP_FAILED) fail("mmap");
  return at;
}

static void fill(unsigned long value) {
  for (unsigned p = 0; p < PAGES; ++p) area[p * PAGE / sizeof *area] = value;
  expected = value;
}

/* The other threads wait meanwhile, and still hold the old pages in their TLBs. */
static void change(unsigned n) {
  switch (n % 4) {
    case 0: map_area(MAP_FIXED); break;
    case 1:
      if (mprotect((void*)area, PAGES * PAGE, PROT_READ) || mprotect((void*)area, PAGES * PAGE, PROT_READ | PROT_WRITE))
        fail("mprotect");
      break;
    case 2:
      if (madvise((void*)area, PAGES * PAGE, MADV_DONTNEED)) fail("madvise");
      break;
    default: {
      const pid_t child = fork(); /* the pages become copy-on-write */
      if (child < 0) fail("fork");
      if (child == 0) _exit(0);
      if (waitpid(child, NULL, 0) != child) fail("waitpid");
    }
  }
}

int main(int count, char** words) {
  if (count != 3) return fprintf(stderr, "shootdown THREADS ROUNDS\n"), 2;
  threads = (unsigned)atoi(words[1]);
  rounds = (unsigned)atoi(words[2]);
  if (threads == 0 || threads > MOST || rounds == 0) return fprintf(stderr, "shootdown: bad numbers\n"), 2;
  area = map_area(0);
  pthread_t others[MOST];
  for (unsigned t = 0; t < threads; ++t)
    if (pthread_create(&others[t], NULL, work, NULL)) fail("pthread_create");
  for (unsigned n = 1; n <= rounds; ++n) {
    change(n);
    fill(n);
    answers = 0;
    __atomic_store_n(&round_number, n, __ATOMIC_SEQ_CST);
    check_pages();
    while (__atomic_load_n(&answers, __ATOMIC_SEQ_CST) != threads) wait_a_little();
  }
  for (unsigned t = 0; t < threads; ++t) pthread_join(others[t], NULL);
  printf("shootdown: %u threads, %u rounds, %lu added, %u wrong\n", threads, rounds, added, wrong);
  return wrong != 0 || added != 100ul * threads * rounds;
}
