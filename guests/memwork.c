/* memwork: memory access patterns of known shape, measured as a region of interest.
 *   memwork chase BYTES STEPS [pages]     a random cycle through all cache lines; each load depends on the one before
 *   memwork gups BYTES UPDATES [pages]    independent read-modify-writes of random words (HPCC RandomAccess)
 *   memwork seq BYTES PASSES [pages]      sums all words from first to last
 * pages: `huge` asks for transparent huge pages with madvise, `small` refuses them, `any` (standard) leaves it to the kernel.
 * Numbers take the suffixes K, M, G. Memory is set up and touched before the region begins. The same arguments print the same
 * result on every machine: it is checked by the tests, and it keeps the compiler honest. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "nestwalk.h"

enum { LINE = 64, HUGE_PAGE = 2 << 20 };

/* xorshift64* (Marsaglia 2003; Vigna 2016): a seeded generator of a few instructions. */
static uint64_t state = 88172645463325252u;
static uint64_t draw(void) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 2685821657736338717u;
}
/* Uniform in [0, n). */
static uint64_t below(uint64_t n) { return (uint64_t)(((unsigned __int128)draw() * n) >> 64); }

static uint64_t parse(const char* text) {
  char* end;
  uint64_t value = strtoull(text, &end, 0);
  switch (*end) {
    case 'G': value <<= 10; /* fall through */
    case 'M': value <<= 10; /* fall through */
    case 'K': value <<= 10; ++end;
  }
  if (end == text || *end != 0 || value == 0) {
    fprintf(stderr, "memwork: '%s' is not a positive number\n", text);
    exit(2);
  }
  return value;
}

/* Memory aligned to a huge page, so that `huge` can have its way from the first byte on. */
static void* allocate(uint64_t bytes, const char* pages) {
  uint64_t span = bytes + HUGE_PAGE;
  char* memory = span < bytes ? MAP_FAILED : mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    fprintf(stderr, "memwork: no memory for %llu bytes\n", (unsigned long long)bytes);
    exit(1);
  }
  memory = (char*)(((uintptr_t)memory + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
  if (!strcmp(pages, "huge")) {
    if (madvise(memory, bytes, MADV_HUGEPAGE) != 0) perror("memwork: madvise(MADV_HUGEPAGE)");
  } else if (!strcmp(pages, "small")) {
    if (madvise(memory, bytes, MADV_NOHUGEPAGE) != 0) perror("memwork: madvise(MADV_NOHUGEPAGE)");
  } else if (strcmp(pages, "any")) {
    fprintf(stderr, "memwork: pages are huge, small or any, not '%s'\n", pages);
    exit(2);
  }
  return memory;
}

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

static uint64_t chase(uint64_t bytes, uint64_t steps, const char* pages) {
  uint64_t count = bytes / LINE;
  if (count == 0) count = 1;
  struct node* nodes = allocate(count * LINE, pages);
  link_cycle(nodes, count);
  struct node* at = nodes;
  nestwalk_roi_begin();
  for (uint64_t i = 0; i < steps; ++i) at = at->next;
  nestwalk_roi_end();
  return (uint64_t)(at - nodes);
}

static uint64_t gups(uint64_t bytes, uint64_t updates, const char* pages) {
  uint64_t words = bytes / sizeof(uint64_t), sum = 0;
  if (words == 0) words = 1;
  uint64_t* table = allocate(words * sizeof(uint64_t), pages);
  for (uint64_t i = 0; i < words; ++i) table[i] = i;
  nestwalk_roi_begin();
  for (uint64_t i = 0; i < updates; ++i) {
    uint64_t value = draw();
    table[(uint64_t)(((unsigned __int128)value * words) >> 64)] ^= value;
  }
  nestwalk_roi_end();
  for (uint64_t i = 0; i < words; ++i) sum += table[i];
  return sum;
}

static uint64_t seq(uint64_t bytes, uint64_t passes, const char* pages) {
  uint64_t words = bytes / sizeof(uint64_t), sum = 0;
  if (words == 0) words = 1;
  volatile uint64_t* table = allocate(words * sizeof(uint64_t), pages);
  for (uint64_t i = 0; i < words; ++i) table[i] = i;
  nestwalk_roi_begin();
  for (uint64_t pass = 0; pass < passes; ++pass) {
    for (uint64_t i = 0; i < words; ++i) sum += table[i];
  }
  nestwalk_roi_end();
  return sum;
}

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) {
    fputs("usage: memwork chase|gups|seq BYTES COUNT [huge|small|any]\n", stderr);
    return 2;
  }
  const char* pages = argc == 5 ? argv[4] : "any";
  uint64_t bytes = parse(argv[2]), count = parse(argv[3]), result;
  if (!strcmp(argv[1], "chase")) {
    result = chase(bytes, count, pages);
  } else if (!strcmp(argv[1], "gups")) {
    result = gups(bytes, count, pages);
  } else if (!strcmp(argv[1], "seq")) {
    result = seq(bytes, count, pages);
  } else {
    fprintf(stderr, "memwork: no mode '%s'\n", argv[1]);
    return 2;
  }
  printf("memwork: %s %s %s %s: %llx\n", argv[1], argv[2], argv[3], pages, (unsigned long long)result);
  return 0;
}
