# A jump to an address where there is no memory: the bus reads as ones, and FF FF is no instruction. Then the same without an
# IDT, which ends the machine.
# image: multiboot
# prints: nothing there
# status: triple-fault
# not under: qemu (it gives up on code outside its memory)
.include "guest.inc"
protected_start
  set_gate idt 6 undefined
  lidt [idtr]
  mov eax, 0xd0000000
  jmp eax
undefined:
  cmp dword ptr [esp], 0xd0000000
  check 1 e
  print text
  lidt [empty]
  mov eax, 0xd0000000
  jmp eax

.data
text: .asciz "nothing there"
.align 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr: .word gdtr - gdt - 1
  .long gdt
idtr: .word 256 * 8 - 1
  .long idt
empty: .word 0
  .long 0
.bss
.align 8
idt: .skip 256 * 8
.skip 4096
stack_top:
