# The status that a guest writes to the debug-exit port is the program's own.
# image: multiboot
# prints:
# status: 42
.include "guest.inc"
multiboot_header
.code32
.globl _start
_start:
  finish 42
