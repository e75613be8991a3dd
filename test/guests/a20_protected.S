# The A20 gate by port 0x92, then the switch from real to protected mode, 16-bit and 32-bit code, and back.
# image: flat
# prints: protected
# status: 0
.include "guest.inc"
.code16
.globl _start
_start:
  cli
  xor ax, ax
  mov ds, ax
  mov ss, ax
  mov sp, 0x7c00
  in al, 0x92
  or al, 2
  out 0x92, al

  # With A20 on, 0xffff:0x8510 is 0x108500, another byte than 0x8500.
  mov ax, 0xffff
  mov es, ax
  mov byte ptr [0x8500], 0x11
  mov byte ptr es:[0x8510], 0x22
  cmp byte ptr [0x8500], 0x11
  check 1 e

  lgdt [gdtr]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  .byte 0xea
  .word protected, 0x08

.code32
protected:
  mov ax, 0x10
  mov ds, ax
  mov ss, ax
  mov es, ax
  mov esp, 0x7c00
  cmp byte ptr [0x108500], 0x22
  check 2 e
  mov eax, 0xffffffff         # 32-bit operands by default
  inc eax
  check 3 z
  push 0x12345678
  pop ebx
  cmp ebx, 0x12345678
  check 4 e
  cld
  print text

  # A data segment with a base of 0x8000 and byte granularity: the last byte of its limit is reachable.
  mov ax, 0x28
  mov fs, ax
  cmp byte ptr fs:[0x500], 0x11
  check 5 e
  mov bx, fs
  lsl edx, ebx
  check 6 z
  cmp edx, 0xfff
  check 7 e
  verr bx
  check 8 z

  # Back: through 16-bit protected mode, so that the hidden limits are those of real mode.
  mov ax, 0x20
  mov ds, ax
  mov ss, ax
  mov es, ax
  .byte 0xea
  .long protected16
  .word 0x18
.code16
protected16:
  mov eax, cr0
  and al, 0xfe
  mov cr0, eax
  .byte 0xea
  .word real, 0
real:
  xor ax, ax
  mov ds, ax
  mov ss, ax
  mov ax, 0xffff
  inc ax                      # 16-bit operands again
  check 9 z
  cmp byte ptr [0x8500], 0x11
  check 10 e
  finish 0

text: .asciz "protected"
.align 8
gdt: .quad 0
  .quad 0x00cf9b000000ffff    # 0x08 code 32
  .quad 0x00cf93000000ffff    # 0x10 data
  .quad 0x00009b000000ffff    # 0x18 code 16
  .quad 0x000093000000ffff    # 0x20 data, 64 KiB
  .quad 0x0000930080000fff    # 0x28 data at 0x8000, 4 KiB
gdtr: .word gdtr - gdt - 1
  .long gdt
