# HLT with interrupts off: nothing will ever wake the processor.
# image: multiboot
# prints:
# status: 5
# not under: qemu (its exit status says less)
# not under: bochs (a halt shows no status)
.include "guest.inc"
multiboot_header
.code32
.globl _start
_start:
  cli
  hlt
  finish 1
