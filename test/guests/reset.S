# The keyboard controller's pulse command resets the machine, which ends it (machine.on_reset = stop).
# image: multiboot
# prints:
# status: 4
# not under: qemu (its exit status says less)
# not under: bochs (a reset shows no status)
.include "guest.inc"
multiboot_header
.code32
.globl _start
_start:
  mov al, 0xfe
  out 0x64, al
  cli
  hlt
