# A fault without an IDT to deliver it by: #UD, then #DF, then shutdown.
# image: multiboot
# prints: falling
# status: triple-fault
.include "guest.inc"
multiboot_header
.code32
.globl _start
_start:
  cli
  cld
  print text
  lidt [empty]
  ud2
  finish 1
.data
text: .asciz "falling"
empty: .word 0
  .long 0
