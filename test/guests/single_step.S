# Single-stepping and breakpoints: one #DB an instruction and an iteration, none between MOV SS and its successor; an execution
# breakpoint stops before its instruction once (RF), a data breakpoint behind the store.
# image: multiboot
# prints: stepped
# status: 0
.include "guest.inc"
protected_start
  set_gate idt 1 debug
  lidt [idtr]
  mov edi, offset scratch

  pushfd
  or dword ptr [esp], 0x100
  popfd                # the first trap comes behind the instruction after this one
  nop                  # 1
  mov ecx, 3           # 2
  rep stosb            # 3, 4, 5
  mov eax, 0x10        # 6
  mov ss, eax          # none
  nop                  # 7
  pushfd               # 8
  and dword ptr [esp], ~0x100
  popfd                # 9, 10: TF was set when it began
  nop
  cmp dword ptr [traps], 10
  check 1 e
  cmp dword ptr [causes], 0x4000
  check 2 e

  # DR0: execution of `here`. DR1: stores to four bytes.
  mov dword ptr [traps], 0
  mov dword ptr [causes], 0
  mov eax, offset here
  mov dr0, eax
  mov eax, offset watched
  mov dr1, eax
  mov eax, 0x00d0040a  # G0, G1; DR1: stores, 4 bytes
  mov dr7, eax
  xor ebx, ebx
here:
  inc ebx
  cmp dword ptr [traps], 1
  check 3 e
  cmp dword ptr [where], offset here
  check 4 e
  cmp ebx, 1
  check 5 e
  mov eax, [watched]   # a load: nothing
  cmp dword ptr [traps], 1
  check 6 e
  mov byte ptr [watched + 3], 1
behind:
  cmp dword ptr [traps], 2
  check 7 e
  cmp dword ptr [where], offset behind
  check 8 e
  cmp dword ptr [causes], 3
  check 9 e
  xor eax, eax
  mov dr7, eax
  print text
  finish 0

# Counts, gathers DR6 (its lower 16 bits without those that read as ones), remembers where, and goes on with RF set.
debug:
  push eax
  mov eax, dr6
  and eax, 0xf00f
  or [causes], eax
  mov eax, 0xffff0ff0
  mov dr6, eax
  mov eax, [esp + 4]
  mov [where], eax
  inc dword ptr [traps]
  or dword ptr [esp + 12], 0x10000
  pop eax
  iretd

.data
text: .asciz "stepped"
.align 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr: .word gdtr - gdt - 1
  .long gdt
idtr: .word 256 * 8 - 1
  .long idt
.bss
.align 8
idt: .skip 256 * 8
traps: .skip 4
causes: .skip 4
where: .skip 4
watched: .skip 4
scratch: .skip 16
.skip 4096
stack_top:
