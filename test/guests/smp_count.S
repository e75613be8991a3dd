# Two processors: the second wakes by INIT and SIPI, knows its number, adds with LOCK XADD and under a spin lock what the first
# adds at the same time, answers interrupts from HLT (physical, logical and by shorthand) and takes an NMI.
# image: multiboot
# processors: 2
# prints: two
# status: 0
.include "guest.inc"
.include "long.inc"
.include "smp.inc"
.equ ROUNDS, 20000
long_start

main64:
  mov al, 0xff        # the 8259 pair is silent
  out 0x21, al
  out 0xa1, al
  set_gate idt64 0x40 pong 1 0x10
  set_gate idt64 0x41 ping 1 0x10
  set_gate idt64 2 nmi 1 0x10
  map_lapic
  enable_lapic
  start_second_processor
  call add_up
  wait_for ap_stage 1
  cmp dword ptr [atomic], 2 * ROUNDS
  check 1 e
  cmp dword ptr [locked], 2 * ROUNDS
  check 2 e
  cmp dword ptr [atomic_sum], (2 * ROUNDS) * (2 * ROUNDS - 1) / 2  # every value was seen once
  check 3 e

  # The other sleeps; each ping wakes it, and it answers by one that wakes us.
  mov ebx, 1
rounds:
  cmp ebx, 90
  je done_rounds
  mov eax, ebx
  and eax, 3
  jz by_shorthand
  cmp eax, 1
  je by_logical
  send_ipi 0x4041
  jmp wait_for_pong
by_shorthand:
  send_ipi 0xc4041 0
  jmp wait_for_pong
by_logical:
  send_ipi 0x4841 2   # its bit in flat mode
wait_for_pong:
  sti
  hlt
  cli
  cmp [pongs], ebx
  jb wait_for_pong
  check 4 e
  cmp [pings], ebx
  check 5 e
  inc ebx
  jmp rounds
done_rounds:
  send_ipi 0x4400
  wait_for nmis 1
  send_ipi 0x44040 0  # to ourselves
  sti
  nop
  nop
  cli
  cmp dword ptr [pongs], 90
  check 6 e
  print two rsi
  finish 0

# Both at the same time.
add_up:
  mov ecx, ROUNDS
  xor edx, edx
1: mov eax, 1
  lock xadd [atomic], eax
  add edx, eax
  dec ecx
  jnz 1b
  lock add [atomic_sum], edx
  mov ecx, ROUNDS
2: mov eax, 1
  xchg [spin_lock], eax
  test eax, eax
  jz 3f
  pause
  jmp 2b
3: mov eax, [locked]
  nop
  inc eax
  mov [locked], eax
  mov dword ptr [spin_lock], 0
  dec ecx
  jnz 2b
  ret

ap64:
  enable_lapic
  mov eax, 1
  cpuid
  shr ebx, 24
  cmp ebx, 1
  ap_check 11 e
  mov eax, 0xb
  xor ecx, ecx
  cpuid
  cmp edx, 1
  ap_check 12 e
  cmp dword ptr [LAPIC + 0x20], 0x01000000
  ap_check 13 e
  mov ecx, 0x1b
  rdmsr
  test eax, 0x100     # not the boot processor
  ap_check 14 z
  mov dword ptr [LAPIC + 0xe0], 0xffffffff
  mov dword ptr [LAPIC + 0xd0], 2 << 24
  call add_up
  mov dword ptr [ap_stage], 1
1: sti
  hlt
  jmp 1b

ping:
  push rax
  inc dword ptr [pings]
  end_of_interrupt
  send_ipi 0x4040 0
  pop rax
  iretq
pong:
  inc dword ptr [pongs]
  end_of_interrupt
  iretq
nmi:
  inc dword ptr [nmis]
  iretq

.data
two: .asciz "two"
.bss
.align 64
atomic: .skip 4
atomic_sum: .skip 4
spin_lock: .skip 4
locked: .skip 4
ap_stage: .skip 4
pings: .skip 4
pongs: .skip 4
nmis: .skip 4
