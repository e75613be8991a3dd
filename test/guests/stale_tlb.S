# A stale TLB entry stays visible until it is flushed: a page is read, its table entry is changed to another frame, and the
# old frame is still read until INVLPG; then the same with a write of CR3.
# Allowed, not demanded, by the SDM (vol. 3, 4.10.2.3); a machine with a modelled TLB of more than a few entries shows it.
# image: multiboot
# prints: stale fresh stale fresh
# status: 0
# not under: unicorn (it does not see a changed translation)
.include "guest.inc"
.include "long.inc"
long_start

main64:
  # Frames 0x201000 and 0x202000 hold their own names; 0x200000 is the page that changes its mind.
  mov dword ptr [0x201000], 1
  mov dword ptr [0x202000], 2
  mov dword ptr [page_table], 0x201007
  invlpg [0x200000]
  cmp dword ptr [0x200000], 1
  check 1 e
  mov dword ptr [page_table], 0x202007
  cmp dword ptr [0x200000], 1
  check 2 e
  print stale rsi
  invlpg [0x200000]
  cmp dword ptr [0x200000], 2
  check 3 e
  print fresh rsi

  mov dword ptr [page_table], 0x201007
  cmp dword ptr [0x200000], 2
  check 4 e
  print stale rsi
  mov rax, cr3
  mov cr3, rax
  cmp dword ptr [0x200000], 1
  check 5 e
  print fresh_end rsi
  finish 0

.data
stale: .asciz "stale "
fresh: .asciz "fresh "
fresh_end: .asciz "fresh"
