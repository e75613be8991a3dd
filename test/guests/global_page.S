# Global pages (SDM vol. 3, 4.10.2.4): once CR4.PGE is set, an entry with G outlives a write of CR3, but neither INVLPG nor a
# change of CR4.PGE; without G it does not outlive CR3.
# image: multiboot
# prints: global
# status: 0
# not under: unicorn (it does not see a changed translation)
# not under: qemu (its TCG flushes global entries with CR3 too)
.include "guest.inc"
.include "long.inc"
long_start

main64:
  mov dword ptr [0x201000], 1
  mov dword ptr [0x202000], 2
  mov rax, cr4
  or eax, 0x80
  mov cr4, rax
  mov dword ptr [page_table], 0x202107
  invlpg [0x200000]
  cmp dword ptr [0x200000], 2
  check 1 e

  mov dword ptr [page_table], 0x201107
  mov rax, cr3
  mov cr3, rax
  cmp dword ptr [0x200000], 2
  check 2 e
  print global rsi
  invlpg [0x200000]            # flushes a global page too
  cmp dword ptr [0x200000], 1
  check 3 e

  mov dword ptr [page_table], 0x202107
  mov rax, cr4
  and eax, ~0x80
  mov cr4, rax
  cmp dword ptr [0x200000], 2
  check 4 e

  # With PGE clear the G bit means nothing.
  mov dword ptr [page_table], 0x201107
  mov rax, cr3
  mov cr3, rax
  cmp dword ptr [0x200000], 1
  check 5 e
  finish 0

.data
global: .asciz "global"
