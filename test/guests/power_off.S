# Sleep state S5 by ACPI's power management register turns the machine off.
# image: multiboot
# prints:
# status: 0
# not under: unicorn (there is no machine to power off)
# not under: qemu (its exit status says less)
# not under: bochs (it has no power-management port there)
.include "guest.inc"
multiboot_header
.code32
.globl _start
_start:
  mov dx, 0x604
  mov ax, 0x2000
  out dx, ax
  finish 1
