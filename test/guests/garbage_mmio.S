# Random doublewords, words and bytes to every register of local APIC, I/O APIC and HPET, and to addresses where there is
# nothing, which read as ones. Interrupts stay off and every vector has a handler, for NMIs. Delivery mode INIT, which would
# reset the processor by design, is left out.
# image: multiboot
# prints: still here
# status: 0
# not under: qemu (its other devices are not ours)
# not under: bochs (its other devices are not ours)
.include "guest.inc"
protected_start
  set_gate idt 0 ignore
  mov esi, offset idt
  mov edi, offset idt + 8
  mov ecx, 255 * 2
  rep movsd
  lidt [idtr]

  mov ebx, 12345       # state of the random numbers
  mov ebp, 64          # rounds: the I/O APIC shows one register at a time
next_round:
  mov esi, offset windows
next_window:
  mov edi, [esi]
next_register:
.irp register, eax, ax, al
  mov \register, [edi]
  call random
  mov [edi], \register
.endr
  add edi, 4
  cmp edi, [esi + 4]
  jb next_register
  add esi, 8
  cmp esi, offset windows_end
  jb next_window
  dec ebp
  jnz next_round

  mov dword ptr [0xd0000000], 0x12345678
  cmp dword ptr [0xd0000000], -1
  check 1 e
  cmp byte ptr [0xd0000ffd], 0xff
  check 2 e
  print text
  finish 0

random:
  imul ebx, ebx, 1664525
  add ebx, 1013904223
  mov eax, ebx
  shr eax, 8
  xor eax, ebx
  and eax, 0xfffff8ff  # delivery mode: fixed
  ret
ignore:
  iretd

.data
text: .asciz "[still here]\n"
windows: .long 0xfee00000, 0xfee01000, 0xfec00000, 0xfec01000, 0xfed00000, 0xfed00400, 0xfed00ff0, 0xfed01000
windows_end:
.align 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr: .word gdtr - gdt - 1
  .long gdt
idtr: .word 256 * 8 - 1
  .long idt
.bss
.align 8
idt: .skip 256 * 8
.skip 4096
stack_top:
