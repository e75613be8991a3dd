# The switch to 64-bit mode; 64-bit registers, zero extension, RIP-relative addresses, compatibility mode and back, and a fault
# that is delivered through a 64-bit gate with an aligned stack.
# image: multiboot
# prints: long mode
# status: 0
.include "guest.inc"
.include "long.inc"
long_start

main64:
  movabs rax, 0x123456789abcdef0
  mov r15, rax
  shr r15, 32
  cmp r15d, 0x12345678
  check 1 e
  mov eax, eax                 # a 32-bit result clears the upper half
  mov r14, rax
  shr r14, 32
  check 2 z
  mov rbx, -1
  mov bx, 0                    # a 16-bit result does not
  mov rcx, rbx
  sar rcx, 16
  cmp rcx, -1
  check 3 e
  lea rdx, [rip + here]
here:
  mov ecx, offset here
  cmp rdx, rcx
  check 4 e
  xor eax, eax
  mov sil, 0x80                # a byte register that only REX names
  movsx rax, sil
  cmp rax, -128
  check 5 e

  # Compatibility mode: a far return into the 32-bit code segment, and a far jump back.
  push 0x08
  lea rax, [rip + compatibility]
  push rax
  rex.w retf
.code32
compatibility:
  .byte 0x48                   # REX.W in 64-bit mode, DEC EAX here
  nop
  mov ecx, offset compatibility
  dec ecx
  cmp eax, ecx
  check 6 e
  .byte 0xea
  .long again
  .word 0x10
.code64
again:
  # #UD on an odd stack: the frame lies on 16 bytes, SS and RSP in it are ours.
  set_gate idt64 6 handler 1 0x10
  mov r13, rsp
  sub rsp, 3
  mov r12, rsp
bad:
  ud2
resumed:
  cmp rsp, r12
  check 7 e
  mov rsp, r13
  cmp ebp, 0x600d
  check 8 e

  # A non-canonical address is #GP, error code 0, not #PF.
  set_gate idt64 13 general_protection 1 0x10
  movabs rbx, 0x0000800000000000
  mov rax, [rbx]
after_load:
  cmp ebp, 0x9f
  check 9 e
  print text rsi
  finish 0

handler:
  mov rax, rsp
  and eax, 15
  cmp eax, 8                   # five quadwords below an aligned address
  check 20 e
  cmp [rsp + 24], r12
  check 21 e
  lea rax, [rip + bad]
  cmp [rsp], rax
  check 22 e
  mov ebp, 0x600d
  lea rax, [rip + resumed]
  mov [rsp], rax
  iretq

general_protection:
  pop rax
  test eax, eax
  check 23 z
  mov ebp, 0x9f
  lea rax, [rip + after_load]
  mov [rsp], rax
  iretq

.data
text: .asciz "long mode"
