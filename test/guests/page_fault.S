# 32-bit paging: #PF with its error code and CR2, a handler that maps the page, restart of the instruction, WP, A and D bits.
# image: multiboot
# prints: page fault
# status: 0
.include "guest.inc"
protected_start
  set_gate idt 14 handler
  lidt [idtr]

  # The first 4 MiB one to one, but for the page at 0x200000, which is not present, and 0x201000, which is read-only.
  mov dword ptr [directory], offset table + 3
  mov edi, offset table
  mov eax, 3
2: stosd
  add eax, 4096
  cmp eax, 0x400003
  jb 2b
  mov dword ptr [table + 0x200 * 4], 0x300002
  mov dword ptr [table + 0x201 * 4], 0x301001
  mov eax, offset directory
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80010000          # PG, WP
  mov cr0, eax

  # A write to the page that is not present: error code W alone; the handler maps it to 0x300000.
  mov dword ptr [wanted_error], 2
  mov dword ptr [wanted_cr2], 0x200124
  mov ebx, 0x200120
  mov dword ptr [ebx + 4], 0xcafe
  cmp dword ptr [faults], 1
  check 1 e
  cmp dword ptr [0x300124], 0xcafe
  check 2 e
  mov eax, [table + 0x200 * 4]
  and eax, 0x60
  cmp eax, 0x60               # accessed and dirty
  check 3 e

  # A read of the read-only page leaves D alone, a write faults as a protection violation.
  mov eax, [0x201000]
  mov eax, [table + 0x201 * 4]
  and eax, 0x60
  cmp eax, 0x20
  check 4 e
  mov dword ptr [wanted_error], 3
  mov dword ptr [wanted_cr2], 0x201ffc
  mov dword ptr [0x201ffc], 0xbeef
  cmp dword ptr [faults], 2
  check 5 e
  cmp dword ptr [0x301ffc], 0xbeef
  check 6 e

  # A write across two pages of which the second is missing: CR2 is the second page, and nothing was written before.
  mov dword ptr [0x300ffc], 0x11111111
  and dword ptr [table + 0x201 * 4], 0xfffffffe
  invlpg [0x201000]
  mov dword ptr [wanted_error], 2
  mov dword ptr [wanted_cr2], 0x201000
  mov dword ptr [cross], 1
  mov dword ptr [0x200ffe], 0xaabbccdd
  cmp dword ptr [faults], 3
  check 7 e
  cmp dword ptr [0x300ffc], 0xccdd1111
  check 8 e
  cmp word ptr [0x301000], 0xaabb
  check 9 e
  print text
  finish 0

handler:
  push eax
  push ebx
  mov eax, [esp + 8]
  cmp eax, [wanted_error]
  check 20 e
  mov eax, cr2
  cmp eax, [wanted_cr2]
  check 21 e
  cmp dword ptr [cross], 0
  je 1f
  cmp dword ptr [0x300ffc], 0x11111111
  check 22 e
1: inc dword ptr [faults]
  shr eax, 12                  # the page's entry: present and writable
  or dword ptr [table + eax * 4], 3
  mov ebx, cr2
  invlpg [ebx]
  pop ebx
  pop eax
  add esp, 4
  iretd

.data
text: .asciz "page fault"
.align 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr: .word gdtr - gdt - 1
  .long gdt
idtr: .word 256 * 8 - 1
  .long idt
.bss
.align 4096
directory: .skip 4096
table: .skip 4096
idt: .skip 256 * 8
faults: .skip 4
wanted_error: .skip 4
wanted_cr2: .skip 4
cross: .skip 4
.skip 4096
stack_top:
