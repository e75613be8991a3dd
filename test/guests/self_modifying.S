# Code that changes itself: the next instruction of the same block, an immediate inside a loop, a write that straddles two
# code pages, and code reached through another mapping of its page.
# image: multiboot
# prints: self-modifying
# status: 0
# not under: unicorn (it does not see a changed translation)
.include "guest.inc"
.include "long.inc"
long_start

main64:
  # The instruction right behind the store (SDM vol. 3, 9.1.3: processors notice this).
  xor eax, eax
  mov byte ptr [rip + next + 1], 0x42
next:
  mov al, 0x11
  cmp al, 0x42
  check 1 e

  # An immediate that grows by one in each turn: the sum is 0+1+...+99.
  xor edx, edx
  mov ecx, 100
turn:
  add edx, 0                   # 83 c2 00
  inc byte ptr [rip + turn + 2]
  dec ecx
  jnz turn
  cmp edx, 4950
  check 2 e

  # A function that straddles a page border is written by one store across the border.
  lea rdi, [rip + border - 3]  # mov eax, imm32 ; ret: the opcode and two bytes of the immediate lie on the first page
  mov byte ptr [rdi], 0xb8
  mov dword ptr [rdi + 1], 0x01020304
  mov byte ptr [rdi + 5], 0xc3
  call rdi
  cmp eax, 0x01020304
  check 3 e
  mov dword ptr [rdi + 1], 0x05060708
  call rdi
  cmp eax, 0x05060708
  check 4 e

  # 0x201000 is made a second name of the page at 0x200000: code run by the one is changed by the other.
  mov eax, [page_table]
  mov [page_table + 8], eax
  invlpg [0x201000]
  mov edi, 0x200000
  mov dword ptr [rdi], 0x9090c3    # placeholder
  mov dword ptr [rdi], 0x00c312b0  # mov al, 0x12 ; ret
  call rdi
  cmp al, 0x12
  check 5 e
  mov byte ptr [0x201001], 0x34
  call rdi
  cmp al, 0x34
  check 6 e

  # The same by a string instruction, which writes many bytes at once.
  lea rsi, [rip + template]
  mov edi, 0x201000
  mov ecx, 3
  rep movsb
  mov edi, 0x200000
  call rdi
  cmp al, 0x56
  check 7 e

  # And the other way round: the first name's page is mapped elsewhere, so the same address now runs other code.
  mov byte ptr [0x202000], 0xb0
  mov word ptr [0x202001], 0xc378
  mov eax, [page_table + 16]
  mov [page_table], eax
  invlpg [0x200000]
  call rdi
  cmp al, 0x78
  check 8 e
  print text rsi
  finish 0

template:
  mov al, 0x56
  ret
.balign 4096
  .skip 4096
border: .skip 64

.data
text: .asciz "self-modifying"
