# Every I/O port, read and written with random bytes, words and doublewords. Nothing may come of it but garbage; left out are
# only the ports that end the machine by design: reset (0x64, 0x92, 0xcf9), power-off (0x600..0x60b) and debug-exit (0xf4).
# image: multiboot
# prints: still here
# status: 0
# not under: qemu (its other devices are not ours)
# not under: bochs (its other devices are not ours)
.include "guest.inc"
multiboot_header
.code32
.globl _start
_start:
  cli
  cld
  mov esp, offset stack_top
  mov ebx, 12345       # state of the random numbers
  xor edx, edx
next_port:
  mov esi, offset spared
1: movzx eax, word ptr [esi]
  cmp edx, eax
  jb use_port          # the list is sorted
  movzx eax, word ptr [esi + 2]
  cmp edx, eax
  jbe skip_port
  add esi, 4
  jmp 1b

use_port:
.irp register, al, ax, eax
  in \register, dx
  imul ebx, ebx, 1664525
  add ebx, 1013904223
  mov eax, ebx
  shr eax, 8           # the low bits of such a generator are poor
  xor eax, ebx
  out dx, \register
.endr
skip_port:
  inc edx
  cmp edx, 0x10000
  jb next_port
  print text
  finish 0

.data
text: .asciz "\n[still here]\n"
# First and last port of each range, three ports below what must not be hit, as the widest access has four bytes.
spared:
  .word 0x61, 0x64, 0x8f, 0x92, 0xf1, 0xf7, 0x5fd, 0x60b, 0xcf6, 0xcf9, 0xffff, 0xffff
.bss
.skip 4096
stack_top:
