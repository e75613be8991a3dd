# Loads one word of each of n consecutive pages, 4 times over: first 16 pages, then 64. A TLB of 8 sets x 4 ways under LRU holds
# the 16: 16 misses. Of the 64, 8 meet in each set: it still holds the first 16 when they come again and misses the other 48, then
# misses every one in each of 3 passes: 48 + 3 * 64 misses. Each miss reads 4 entries.
# image: multiboot
# status: 0
.include "guest.inc"
.include "long.inc"
multiboot_header
.code32
.globl _start
_start:
  cli
  cld
  enter_long_mode

.macro touch pages
  mov edx, 4
1: mov ecx, 0x200000
2: mov rax, [rcx]
  add ecx, 4096
  cmp ecx, 0x200000 + 4096 * \pages
  jb 2b
  dec edx
  jnz 1b
.endm

main64:
  touch 16
  touch 64
  finish 0
