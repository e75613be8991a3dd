# Two processors and what one changes under the other: a page table entry that the other still holds in its TLB until it is
# asked by an interrupt to forget it, and code that the other is running (cross-modifying code, SDM vol. 3, 9.1.3), in pages
# that the writer has been storing to all along.
# That the old frame is still seen is allowed, not demanded (SDM vol. 3, 4.10.5); a machine with a modelled TLB shows it.
# image: multiboot
# processors: 2
# prints: stale fresh code
# status: 0
.include "guest.inc"
.include "long.inc"
.include "smp.inc"
long_start

main64:
  set_gate idt64 0x40 shoot 1 0x10
  map_lapic
  enable_lapic
  start_second_processor
  mov dword ptr [0x201000], 1
  mov dword ptr [0x202000], 2
  mov dword ptr [page_table], 0x201007
  invlpg [0x200000]
  call ask_for_read
  cmp edx, 1
  check 1 e

  mov ebx, 50
mappings:
  mov dword ptr [page_table], 0x202007
  invlpg [0x200000]
  cmp dword ptr [0x200000], 2
  check 2 e
  call ask_for_read
  cmp edx, 1          # its TLB is its own
  check 3 e
  mov eax, [shots]
  inc eax
  send_ipi 0x4040
1: pause
  cmp [shots], eax
  jne 1b
  call ask_for_read
  cmp edx, 2
  check 4 e
  mov dword ptr [page_table], 0x201007
  invlpg [0x200000]
  mov eax, [shots]
  inc eax
  send_ipi 0x4040
2: pause
  cmp [shots], eax
  jne 2b
  call ask_for_read
  cmp edx, 1
  check 5 e
  dec ebx
  jnz mappings
  print shot rsi

  # mov eax, imm32 ; ret at 0x203000 and, across two pages, at 0x204ffd. Both processors run what we write.
  mov ebx, 1
patches:
  mov byte ptr [0x203000], 0xb8
  mov [0x203001], ebx
  mov byte ptr [0x203005], 0xc3
  mov byte ptr [0x204ffd], 0xb8
  mov [0x204ffe], ebx
  mov byte ptr [0x205002], 0xc3
  mov dword ptr [command], 2
  wait_for command 0
  cmp [answer], ebx
  check 6 e
  cmp [answer2], ebx
  check 7 e
  mov edi, 0x203000
  call rdi
  cmp eax, ebx
  check 8 e
  add ebx, 0x01010101
  cmp ebx, 100 * 0x01010101
  jb patches
  print code rsi
  finish 0

# EDX: what the other reads at 0x200000.
ask_for_read:
  mov dword ptr [command], 1
  wait_for command 0
  mov edx, [answer]
  ret

ap64:
  enable_lapic
  sti
obey:
  pause
  mov eax, [command]
  test eax, eax
  jz obey
  cmp eax, 2
  je run_code
  mov eax, [0x200000]
  mov [answer], eax
  mov dword ptr [command], 0
  jmp obey
run_code:
  xor eax, eax
  cpuid               # serializes
  mov edi, 0x203000
  call rdi
  mov [answer], eax
  mov edi, 0x204ffd
  call rdi
  mov [answer2], eax
  mov dword ptr [command], 0
  jmp obey

shoot:
  invlpg [0x200000]
  inc dword ptr [shots]
  end_of_interrupt
  iretq

.data
shot: .asciz "stale fresh "
code: .asciz "code"
.bss
.align 64
command: .skip 4
answer: .skip 4
answer2: .skip 4
shots: .skip 4
