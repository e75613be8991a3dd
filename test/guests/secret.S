# Memory that nobody else may see: every word from 2 MiB to 8 MiB is zero when the machine starts, then holds a secret, and is
# found so in each of four passes that change it. The secret is the first four letters of the command line (`none` where
# there are fewer), so that several virtual machines on one host have different ones.
# image: multiboot
# prints: secret kept
# status: 0
# not under: bochs (its boot loader has used that memory)
.include "guest.inc"
multiboot_header
.code32
.globl _start
_start:
  cli
  cld
  mov ebp, 0x656e6f6e          # "none"
  test dword ptr [ebx], 4      # multiboot information: a command line
  jz 1f
  mov eax, [ebx + 16]
  cmp byte ptr [eax], 0
  je 1f
  mov ebp, [eax]
1:
  mov edi, 0x200000
2: cmp dword ptr [edi], 0      # nobody left anything here
  check 1 e
  mov [edi], ebp
  add edi, 4
  cmp edi, 0x800000
  jb 2b
  mov ecx, 4
3: mov edi, 0x200000
4: cmp [edi], ebp              # still ours
  check 2 e
  rol dword ptr [edi], 8
  add edi, 4
  cmp edi, 0x800000
  jb 4b
  rol ebp, 8
  dec ecx
  jnz 3b
  print kept
  finish 0

.data
kept: .asciz "secret kept"
