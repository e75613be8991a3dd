/* Nestwalk's region of interest, for guest programs: one file, C99 or C++, nothing to link.
 *
 * A command is the instruction `xchg %bx,%bx` (66 87 DB) with its number in EAX and an argument in ECX. A processor executes it
 * as a no-op, and so does every other emulator, so an instrumented program runs unchanged anywhere.
 *
 *   #include "nestwalk.h"
 *   nestwalk_roi_begin();
 *   ... what is measured ...
 *   nestwalk_roi_end();
 */
#ifndef NESTWALK_H
#define NESTWALK_H

enum {
  NESTWALK_ROI_BEGIN = 1, /* statistics of the region start here */
  NESTWALK_ROI_END = 2,   /* ... and end here; regions add up */
  NESTWALK_RESET = 3,     /* forget the statistics so far (caches and TLBs stay warm) */
  NESTWALK_DUMP = 4,      /* write the report now and go on */
  NESTWALK_MARKER = 5     /* note the number in ECX, with instruction and cycle count */
};

/* The "memory" clobber keeps the compiler from moving loads and stores across the border of a region. */
static inline void nestwalk_command(unsigned command, unsigned argument) {
  __asm__ __volatile__("xchgw %%bx, %%bx" : : "a"(command), "c"(argument) : "memory");
}

static inline void nestwalk_roi_begin(void) { nestwalk_command(NESTWALK_ROI_BEGIN, 0); }
static inline void nestwalk_roi_end(void) { nestwalk_command(NESTWALK_ROI_END, 0); }
static inline void nestwalk_reset(void) { nestwalk_command(NESTWALK_RESET, 0); }
static inline void nestwalk_dump(void) { nestwalk_command(NESTWALK_DUMP, 0); }
static inline void nestwalk_marker(unsigned number) { nestwalk_command(NESTWALK_MARKER, number); }

#endif
