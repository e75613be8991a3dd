# Real mode: segment arithmetic, the interrupt vector table, string instructions, wrap-around of a 16-bit offset.
# image: flat
# prints: hello from real mode
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
  cld
  print hello si

  # The same byte by two segments: 0x1000:0x0010 is 0x1001:0x0000.
  mov ax, 0x1000
  mov es, ax
  mov byte ptr es:[0x10], 0x5a
  inc ax
  mov fs, ax
  cmp byte ptr fs:[0], 0x5a
  check 1 e

  # A software interrupt through the vector table; the handler sees FLAGS, CS and IP on the stack and IF clear.
  mov word ptr [0x60 * 4], offset handler
  mov word ptr [0x60 * 4 + 2], 0
  mov bx, sp
  sti
  stc
  int 0x60
  check 2 c                  # IRET brought CF back
  cmp dx, 0x1234
  check 3 e
  cmp bx, sp
  check 4 e

  # The word at offset 0xffff would leave the segment: two bytes, apart by the segment's size, are written singly.
  mov ax, 0x2000
  mov es, ax
  mov di, 0xffff
  mov cx, 2
  mov al, 0x77
  rep stosb
  cmp di, 1
  check 5 e
  cmp byte ptr es:[0], 0x77
  check 6 e
  cmp byte ptr es:[0xffff], 0x77
  check 7 e

  # 32-bit operands and addresses in 16-bit code.
  mov eax, 0x12345678
  mov ebx, 0x8000
  mov dword ptr [ebx + 4], eax
  cmp word ptr [0x8006], 0x1234
  check 8 e
  finish 0

handler:
  mov bp, sp
  test word ptr [bp + 4], 0x200
  jz 1f                      # the pushed FLAGS have IF ...
  pushf
  pop cx
  test cx, 0x200
  jnz 1f                     # ... the present ones have not
  mov dx, 0x1234
1: iret

hello: .asciz "hello from real mode"
