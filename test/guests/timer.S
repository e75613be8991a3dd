# Timer interrupts through the 8259 pair and the 8254: HLT wakes, the count of ticks is right, a masked line is silent.
# image: multiboot
# prints: .....
# status: 0
.include "guest.inc"
protected_start
  set_gate idt 0x20 tick
  lidt [idtr]

  # 8259: ICW1..ICW4, vectors 0x20 and 0x28, all but IRQ0 masked.
.macro byte_to port value
  mov al, \value
  out \port, al
.endm
  byte_to 0x20 0x11
  byte_to 0xa0 0x11
  byte_to 0x21 0x20
  byte_to 0xa1 0x28
  byte_to 0x21 4
  byte_to 0xa1 2
  byte_to 0x21 1
  byte_to 0xa1 1
  byte_to 0x21 0xfe
  byte_to 0xa1 0xff
  # 8254: channel 0, mode 2, 1 ms.
  byte_to 0x43 0x34
  byte_to 0x40 (1193 & 0xff)
  byte_to 0x40 (1193 >> 8)

wait_for_ticks:
  sti
  hlt
  cli
  cmp dword ptr [ticks], 5
  jb wait_for_ticks
  check 1 e

  # Masked: the counter counts on, no interrupt comes. Some 5 ms by the counter's own reading.
  byte_to 0x21 0xff
  mov ebx, 5
2: call wait_for_wrap
  dec ebx
  jnz 2b
  sti
  nop
  nop
  cli
  cmp dword ptr [ticks], 5
  check 2 e

  # Unmasked with the request still pending: it arrives after the instruction behind STI.
  byte_to 0x21 0xfe
  mov ecx, 0
  sti
  inc ecx
  nop
  nop
  cli
  cmp dword ptr [ticks], 6
  check 3 e
  cmp dword ptr [ecx_seen], 1  # STI's shadow: the instruction behind it was executed first
  check 4 e
  finish 0

# Until channel 0's counter has started anew.
wait_for_wrap:
  call read_counter
  mov edx, eax
1: call read_counter
  cmp eax, edx
  mov edx, eax
  jbe 1b
  ret
read_counter:
  byte_to 0x43 0
  in al, 0x40
  mov cl, al
  in al, 0x40
  mov ch, al
  movzx eax, cx
  ret

tick:
  push eax
  mov [ecx_seen], ecx
  inc dword ptr [ticks]
  cmp dword ptr [ticks], 5
  ja 1f
  put_char 0x2e
1: byte_to 0x20 0x20
  pop eax
  iretd

.data
.align 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr: .word gdtr - gdt - 1
  .long gdt
idtr: .word 256 * 8 - 1
  .long idt
.bss
.align 8
idt: .skip 256 * 8
ticks: .skip 4
ecx_seen: .skip 4
.skip 4096
stack_top:
