/* memwork: memory access patterns of known shape, measured as a region of interest.
 *   memwork chase BYTES STEPS [pages]      a random cycle through all cache lines; each load depends on the one before
 *   memwork gups BYTES UPDATES [pages]     independent read-modify-writes of random words (HPCC RandomAccess)
 *   memwork seq BYTES PASSES [pages]       sums all words from first to last
 *   memwork sweep BYTES PASSES [pages]     a load and a store in each cache line from first to last
 *   memwork churn BYTES ROUNDS [pages]     page tables come and go: map, touch, fork and copy on write, protect, discard,
 * unmap memwork pingpong BYTES TURNS [pages]   two processes take turns by pipes; each touches all its pages in its turn
 *   memwork mixed BYTES STEPS [pages]      chases, random updates, short sums and short-lived mappings in a random order
 * pages: `huge` asks for transparent huge pages with madvise, `small` refuses them, `any` (standard) leaves it to the
 * kernel, `hugetlb` takes reserved ones (vm.nr_hugepages). A further word `high` puts the memory above 2^47, where only
 * five levels of page tables reach, or fails. Numbers take the suffixes K, M, G. But for churn and mixed, memory is set up
 * and touched before the region begins. The same arguments print the same result on every machine: it is checked by the
 * tests, and it keeps the compiler honest. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nestwalk.h"

enum { LINE = 64, PAGE = 4096, HUGE_PAGE = 2 << 20 };

static void fail(const char* what) {
  fprintf(stderr, "memwork: ");
  perror(what);
  exit(1);
}

/* xorshift64* (Marsaglia 2003; Vigna 2016): a seeded generator of a few instructions. */
static uint64_t state = 88172645463325252u;
static uint64_t draw(void) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 2685821657736338717u;
}
/* Uniform in [0, n). */
static uint64_t scale(uint64_t value, uint64_t n) { return (uint64_t)(((unsigned __int128)value * n) >> 64); }
static uint64_t below(uint64_t n) { return scale(draw(), n); }

static uint64_t parse(const char* text) {
  char* end;
  uint64_t value = strtoull(text, &end, 0), shift = 0;
  switch (*end) {
    case 'G': shift += 10; /* fall through */
    case 'M': shift += 10; /* fall through */
    case 'K': shift += 10; ++end;
  }
  if (end == text || *end != 0 || value == 0 || value << shift >> shift != value) {
    fprintf(stderr, "memwork: '%s' is not a positive number\n", text);
    exit(2);
  }
  return value << shift;
}

/* ---- memory -------------------------------------------------------------------------------------------------------------
 */

struct area {
  char* memory; /* aligned to a huge page, so that `huge` can have its way from the first byte on */
  uint64_t bytes;
  void* mapping; /* what was mapped */
  uint64_t mapped;
};

struct request {
  uint64_t bytes;
  const char* pages;
  int high;
};

static struct area map(struct request want) {
  int hugetlb = !strcmp(want.pages, "hugetlb");
  struct area a = {NULL, want.bytes, NULL, want.bytes + HUGE_PAGE};
  if (hugetlb) a.mapped = (want.bytes + HUGE_PAGE - 1) & ~(uint64_t)(HUGE_PAGE - 1);
  void* hint = want.high ? (void*)((uintptr_t)1 << 55) : NULL;
  a.mapping = a.mapped < want.bytes ? MAP_FAILED
                                    : mmap(hint, a.mapped, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | (hugetlb ? MAP_HUGETLB : 0), -1, 0);
  if (a.mapping == MAP_FAILED) {
    fprintf(stderr, "memwork: no memory for %llu bytes%s\n", (unsigned long long)want.bytes,
            hugetlb ? "; echo NUMBER >/proc/sys/vm/nr_hugepages first" : "");
    exit(1);
  }
  a.memory = (char*)(((uintptr_t)a.mapping + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
  if (want.high && (uintptr_t)a.memory >> 47 == 0) {
    fprintf(stderr, "memwork: this kernel has no addresses above 2^47\n");
    exit(1);
  }
  if (!strcmp(want.pages, "huge")) {
    if (madvise(a.memory, a.bytes, MADV_HUGEPAGE) != 0) perror("memwork: madvise(MADV_HUGEPAGE)");
  } else if (!strcmp(want.pages, "small")) {
    if (madvise(a.memory, a.bytes, MADV_NOHUGEPAGE) != 0) perror("memwork: madvise(MADV_NOHUGEPAGE)");
  }
  return a;
}

static void unmap(struct area a) {
  if (munmap(a.mapping, a.mapped) != 0) fail("munmap");
}

/* At least one of `unit` bytes. */
static struct request units(struct request want, uint64_t unit) {
  want.bytes = want.bytes < unit ? unit : want.bytes / unit * unit;
  return want;
}

/* ---- patterns in memory that stays --------------------------------------------------------------------------------------
 */

struct node {
  struct node* next;
  char rest[LINE - sizeof(void*)];
};

/* Sattolo's algorithm in place: a uniformly random permutation that is one cycle through all nodes. */
static void link_cycle(struct node* nodes, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) nodes[i].next = &nodes[i];
  for (uint64_t i = count - 1; i > 0; --i) {
    uint64_t j = below(i);
    struct node* swapped = nodes[i].next;
    nodes[i].next = nodes[j].next;
    nodes[j].next = swapped;
  }
}

static uint64_t chase(struct request want, uint64_t steps) {
  struct area a = map(units(want, LINE));
  struct node* nodes = (struct node*)a.memory;
  link_cycle(nodes, a.bytes / LINE);
  struct node* at = nodes;
  nestwalk_roi_begin();
  for (uint64_t i = 0; i < steps; ++i) at = at->next;
  nestwalk_roi_end();
  return (uint64_t)(at - nodes);
}

static uint64_t* numbered_words(struct request want, uint64_t* count) {
  struct area a = map(units(want, sizeof(uint64_t)));
  uint64_t* words = (uint64_t*)a.memory;
  *count = a.bytes / sizeof(uint64_t);
  for (uint64_t i = 0; i < *count; ++i) words[i] = i;
  return words;
}

static uint64_t gups(struct request want, uint64_t updates) {
  uint64_t count, sum = 0, *table = numbered_words(want, &count);
  nestwalk_roi_begin();
  for (uint64_t i = 0; i < updates; ++i) {
    uint64_t value = draw();
    table[scale(value, count)] ^= value;
  }
  nestwalk_roi_end();
  for (uint64_t i = 0; i < count; ++i) sum += table[i];
  return sum;
}

static uint64_t seq(struct request want, uint64_t passes) {
  uint64_t count, sum = 0;
  volatile uint64_t* table = numbered_words(want, &count);
  nestwalk_roi_begin();
  for (uint64_t pass = 0; pass < passes; ++pass) {
    for (uint64_t i = 0; i < count; ++i) sum += table[i];
  }
  nestwalk_roi_end();
  return sum;
}

static uint64_t sweep(struct request want, uint64_t passes) {
  uint64_t count, sum = 0;
  volatile uint64_t* table = numbered_words(want, &count);
  nestwalk_roi_begin();
  for (uint64_t pass = 0; pass < passes; ++pass) {
    for (uint64_t i = 0; i < count; i += LINE / sizeof(uint64_t)) {
      uint64_t value = table[i];
      sum += value;
      table[i] = value * 3 + pass;
    }
  }
  nestwalk_roi_end();
  return sum;
}

/* ---- patterns of the operating system -----------------------------------------------------------------------------------
 */

static void await(pid_t child) {
  int status;
  if (waitpid(child, &status, 0) == child && status == 0) return;
  fputs("memwork: its second process failed\n", stderr);
  exit(1);
}

static uint64_t* page_of(struct area a, uint64_t i) { return (uint64_t*)(a.memory + i * PAGE); }

/* What a forked child sees of its parent's pages, every second of which it overwrites in a copy of its own. */
static uint64_t child_sum(struct area a) {
  uint64_t pages = a.bytes / PAGE, sum = 0;
  for (uint64_t i = 0; i < pages; ++i) {
    if (i & 1) *page_of(a, i) ^= i;
    sum += *page_of(a, i);
  }
  return sum;
}

static uint64_t churn_once(struct request want, uint64_t unit, volatile uint64_t* shared) {
  struct area a = map(want);
  uint64_t pages = a.bytes / PAGE, half = a.bytes / 2 / unit * unit / PAGE, sum = 0;
  for (uint64_t i = 0; i < pages; ++i) *page_of(a, i) = draw();
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    *shared = child_sum(a);
    _exit(0);
  }
  await(child);
  sum += *shared;
  if (half) {
    if (mprotect(a.memory, half * PAGE, PROT_READ) != 0) fail("mprotect");
    for (uint64_t i = 0; i < half; ++i) sum += *page_of(a, i);
    if (mprotect(a.memory, half * PAGE, PROT_READ | PROT_WRITE) != 0) fail("mprotect");
    if (madvise(page_of(a, half), (pages - half) * PAGE, MADV_DONTNEED) != 0) fail("madvise");
  }
  for (uint64_t i = 0; i < pages; ++i) sum += (*page_of(a, i) += i);
  unmap(a);
  return sum;
}

static uint64_t* shared_word(void) {
  void* page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) fail("mmap");
  return page;
}

static uint64_t churn(struct request want, uint64_t rounds) {
  volatile uint64_t* shared = shared_word();
  uint64_t sum = 0, unit = strcmp(want.pages, "hugetlb") ? PAGE : HUGE_PAGE;
  want = units(want, unit);
  nestwalk_roi_begin();
  for (uint64_t i = 0; i < rounds; ++i) sum = sum * 31 + churn_once(want, unit, shared);
  nestwalk_roi_end();
  return sum;
}

/* One turn: takes the token, touches every page, gives the token away. False at the end of the pipe. */
static int turn(int from, int to, uint64_t* token, struct area a, int keep) {
  if (read(from, token, sizeof *token) != (ssize_t)sizeof *token) return 0;
  for (uint64_t i = 0, pages = a.bytes / PAGE; i < pages; ++i) *token = *token * 31 + (*page_of(a, i))++;
  return keep || write(to, token, sizeof *token) == (ssize_t)sizeof *token;
}

static uint64_t pingpong(struct request want, uint64_t turns) {
  int there[2], back[2];
  uint64_t token = 1;
  struct area a = map(units(want, PAGE));
  if (pipe(there) != 0 || pipe(back) != 0) fail("pipe");
  pid_t child = fork();
  if (child < 0) fail("fork");
  for (uint64_t i = 0, pages = a.bytes / PAGE; i < pages; ++i) *page_of(a, i) = i + (child == 0);
  if (child == 0) {
    close(there[1]);
    if (write(back[1], &token, sizeof token) != (ssize_t)sizeof token) _exit(1); /* the child's memory is ready */
    while (turn(there[0], back[1], &token, a, 0)) continue;
    _exit(0);
  }
  if (read(back[0], &token, sizeof token) != (ssize_t)sizeof token) fail("pipe");
  nestwalk_roi_begin();
  for (uint64_t i = 0; i < turns; ++i) {
    if (write(there[1], &token, sizeof token) != (ssize_t)sizeof token || !turn(back[0], -1, &token, a, 1)) fail("pipe");
  }
  nestwalk_roi_end();
  close(there[1]);
  await(child);
  return token;
}

static uint64_t short_lived(struct request like, uint64_t pages) {
  like.bytes = pages * PAGE;
  struct area a = map(like);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < pages; ++i) sum += *page_of(a, i) = i * i;
  unmap(a);
  return sum;
}

/* Half of the memory is a cycle to chase, half a table. Of 16 steps 7 chase, 5 update, 3 sum, 1 maps: a program's mixture.
 */
static uint64_t mixed(struct request want, uint64_t steps) {
  struct area a = map(units(want, 2 * PAGE));
  uint64_t half = a.bytes / 2, count = half / sizeof(uint64_t), sum = 0;
  struct node* at = (struct node*)a.memory;
  uint64_t* table = (uint64_t*)(a.memory + half);
  link_cycle(at, half / LINE);
  for (uint64_t i = 0; i < count; ++i) table[i] = i;
  nestwalk_roi_begin();
  for (uint64_t step = 0; step < steps; ++step) {
    uint64_t kind = below(16);
    if (kind < 7) {
      for (int i = 0; i < 16; ++i) at = at->next;
      sum += (uint64_t)((char*)at - a.memory);
    } else if (kind < 12) {
      for (int i = 0; i < 8; ++i) table[below(count)] ^= sum + step;
    } else if (kind < 15) {
      for (uint64_t i = 0, begin = below(count); i < 512; ++i) sum += table[(begin + i) % count];
    } else {
      sum += short_lived(want, 1 + below(16));
    }
  }
  nestwalk_roi_end();
  return sum;
}

/* ---- the command --------------------------------------------------------------------------------------------------------
 */

static const struct {
  const char* name;
  uint64_t (*run)(struct request want, uint64_t count);
} modes[] = {{"chase", chase}, {"gups", gups},         {"seq", seq},    {"sweep", sweep},
             {"churn", churn}, {"pingpong", pingpong}, {"mixed", mixed}};

static int usage(void) {
  fputs("usage: memwork chase|gups|seq|sweep|churn|pingpong|mixed BYTES COUNT [huge|small|any|hugetlb [high]]\n", stderr);
  return 2;
}

int main(int argc, char** argv) {
  if (argc < 4 || argc > 6 || (argc == 6 && strcmp(argv[5], "high"))) return usage();
  struct request want = {parse(argv[2]), argc >= 5 ? argv[4] : "any", argc == 6};
  uint64_t count = parse(argv[3]);
  if (strcmp(want.pages, "huge") && strcmp(want.pages, "small") && strcmp(want.pages, "any") &&
      strcmp(want.pages, "hugetlb")) {
    fprintf(stderr, "memwork: pages are huge, small, any or hugetlb, not '%s'\n", want.pages);
    return 2;
  }
  for (unsigned i = 0; i < sizeof modes / sizeof *modes; ++i) {
    if (strcmp(argv[1], modes[i].name)) continue;
    uint64_t result = modes[i].run(want, count);
    printf("memwork: %s %s %s %s%s: %llx\n", argv[1], argv[2], argv[3], want.pages, want.high ? " high" : "",
           (unsigned long long)result);
    return 0;
  }
  fprintf(stderr, "memwork: no mode '%s'\n", argv[1]);
  return usage();
}
