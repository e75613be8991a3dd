# Rings: SYSRET into ring 3, SYSCALL back (RCX, R11, SFMASK, selectors), #PF and #GP from ring 3 with the stack of the TSS, IRETQ.
# image: multiboot
# prints: ring 3
# status: 0
.include "guest.inc"
.include "long.inc"
long_start

.macro write_msr number high low
  mov ecx, \number
  mov eax, \low
  mov edx, \high
  wrmsr
.endm

main64:
  # STAR: SYSCALL loads 0x10/0x18; SYSRET with REX.W loads 0x20+16 | 3 and 0x20+8 | 3.
  write_msr 0xc0000081 0x00200010 0
  lea rax, [rip + from_syscall]
  mov rbx, rax
  write_msr 0xc0000082 0 ebx
  write_msr 0xc0000084 0 0x401    # DF and CF are cleared on entry
  set_gate idt64 14 page_fault 1 0x10
  set_gate idt64 13 general_protection 1 0x10
  mov [kernel_stack], rsp

  lea rcx, [rip + user]
  mov r11d, 0x002
  sysretq

user:
  mov ax, cs
  cmp ax, 0x33
  jne user_failed
  mov ax, ss
  cmp ax, 0x2b
  jne user_failed
  mov esp, offset user_stack_top
  std
  stc
  mov r15d, 1
  syscall
  # The kernel comes back here: flags as they were.
after_syscall:
  jnc user_failed
  pushfq
  pop rax
  cld
  test eax, 0x400
  jz user_failed

  # A supervisor page: protection violation by a user read (P, U). The handler lets us go on.
  mov r15d, 2
  and byte ptr [page_table], 0xff     # readable so far
  mov eax, [0x201000]
after_fault:
  cmp r15d, 0x22
  jne user_failed

  # A privileged instruction: #GP(0).
  mov r15d, 3
  cli
after_cli:
  cmp r15d, 0x33
  jne user_failed

  # A write to a port is #GP without an I/O bitmap.
  mov r15d, 3
  xor eax, eax
  out 0xf4, al
after_out:
  cmp r15d, 0x33
  jne user_failed
  mov r15d, 4
  syscall
user_failed:
  mov r15d, 30
  syscall

from_syscall:
  mov r14, rsp
  mov rsp, [kernel_stack]
  cmp r15d, 4
  jne 1f
  print text rsi
  finish 0
1: cmp r15d, 1
  check 1 e
  pushfq
  pop rax
  test eax, 0x401
  check 2 z
  test r11d, 0x400
  check 3 nz
  test r11d, 1
  check 4 nz
  lea rax, [rip + after_syscall]
  cmp rcx, rax
  check 5 e
  mov ax, cs
  cmp ax, 0x10
  check 6 e
  mov ax, ss
  cmp ax, 0x18
  check 7 e
  cmp r14, offset user_stack_top
  check 8 e
  and byte ptr [page_table + 8], 0xfb     # the page at 0x201000 now belongs to the supervisor
  invlpg [0x201000]
  mov rsp, r14
  sysretq

page_fault:
  lea rax, [rsp + 48]
  cmp rax, offset stack_top               # the stack of the TSS
  check 10 e
  pop rax
  cmp eax, 5
  check 11 e
  cmp r15d, 2
  check 12 e
  mov rax, cr2
  cmp rax, 0x201000
  check 13 e
  cmp word ptr [rsp + 8], 0x33
  check 14 e
  mov r15d, 0x22
  lea rax, [rip + after_fault]
  mov [rsp], rax
  iretq

general_protection:
  pop rax
  test eax, eax
  check 15 z
  cmp r15d, 3
  check 16 e
  mov r15d, 0x33
  lea rax, [rip + after_cli]
  cmp word ptr [rsp + 8], 0x33
  check 17 e
  cmp byte ptr [rip + seen_cli], 0
  je 1f
  lea rax, [rip + after_out]
1: mov byte ptr [rip + seen_cli], 1
  mov [rsp], rax
  iretq

.data
text: .asciz "ring 3"
seen_cli: .byte 0
.bss
.align 16
kernel_stack: .skip 8
.skip 1024
user_stack_top:
