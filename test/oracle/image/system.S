# The runner of system cases (GNU as, Intel syntax): a multiboot-1 kernel at 16 MiB. Each case is a whole machine of LOW_BYTES of
# memory (test/oracle/harness/system_machine.h); the runner makes that memory, goes in by way.S, is come back to, and prints on the
# debug console what became of it:
#   @case word:value word:value ... ;      words of the frame that changed; from MEMORY on, words of memory
#   @end;                                  behind the last one
# A case without a way back ends the emulator, or hangs it; the harness boots the rest anew.
#
# Behind the runner lie entries: as many worlds' memories as WORLDS says, then `count` cases. An entry is its size in bytes, a
# frame, and stretches of memory (offset, number of words, words) up to one without words.
.intel_syntax noprefix
.include "system.inc"
.include "macros.inc"

.set PORT, 0xe9
.set MEMORY, 0x10000
.set WORLDS, 6
.set MSRS, 10
.set EXPECTED, 0x2080000     # the memory a case starts from; other pages of caches that are indexed by a page's low bits
.set TEMPLATES, 0x2100000    # that of each world
.set ENTRY_FRAME, 8
.set ENTRY_STRETCHES, ENTRY_FRAME + frame_bytes

.text
multiboot_header

# ---- from 32-bit protected mode to 64-bit mode, at the start and behind each case of another mode -------------------------
.code32
.globl _start
_start:
  cli
  cld
  mov al, 0xff               # no interrupts (Intel 8259A)
  out 0x21, al
  out 0xa1, al
back32:
  lgdt [gdtr]                # a 16-bit TSS would keep IA-32e mode out
  and byte ptr [gdt + 0x25], 0xfd
  mov eax, 0x20
  ltr ax
  enter_long_mode level4, 0x80000031   # PG, NE, ET, PE
  ljmp 0x18, offset started
.code64
back64:
  mov eax, 0x80000031
  mov cr0, rax
  mov eax, 0x620
  mov cr4, rax
  lgdt [gdtr]
  jmp fword ptr [to_started]
started:
  lidt [no_idt]
  mov eax, 0x10
  mov ss, eax
  mov ds, eax
  mov es, eax
  mov rsp, offset stack_top
  cmp qword ptr [current], 0
  jne ended

# ---- the loop -----------------------------------------------------------------------------------------------------------
# RBX: the entry; RBP: its number.
  mov rbx, offset entries
  xor ebp, ebp
1:imul rdi, rbp, LOW_BYTES
  add rdi, TEMPLATES
  push rdi
  mov ecx, LOW_BYTES / 8
  xor eax, eax
  rep stosq
  pop rdi
  call put_stretches
  add rbx, [rbx]
  inc ebp
  cmp ebp, WORLDS
  jb 1b
  xor ebp, ebp

next_case:
  cmp rbp, [count]
  jae last_word
  mov [current], rbx
  mov [number], rbp
  mov eax, [rbx + ENTRY_FRAME + f_world]
  cmp eax, [loaded]
  je 1f
  mov [loaded], eax
  imul rax, rax, LOW_BYTES
  add rax, TEMPLATES
  mov [template], rax
  mov rsi, rax
  mov edi, EXPECTED
  mov ecx, LOW_BYTES / 8
  rep movsq
  mov rsi, rax
  xor edi, edi
  mov ecx, LOW_BYTES / 8
  rep movsq
1:mov edi, EXPECTED
  call put_stretches
  xor edi, edi
  call put_stretches
  mov edi, PRIVATE
  mov ecx, (PRIVATE_END - PRIVATE) / 8
  xor eax, eax
  rep stosq
  lea rsi, [rbx + ENTRY_FRAME]
  mov edi, FRAME
  mov ecx, frame_bytes / 8
  rep movsq
  mov dword ptr [BACK32], offset back32
  mov dword ptr [BACK64], offset back64
  mov dword ptr [BACK64 + 8], offset level4
  mov rax, [FRAME + f_dr0]
  mov dr0, rax
  mov rax, [FRAME + f_dr1]
  mov dr1, rax
  mov rax, [FRAME + f_dr6]
  mov dr6, rax
  xor ebx, ebx
1:mov ecx, [msrs + 4 * rbx]
  mov rdi, [FRAME + f_msr + 8 * rbx]
  call write_msr
  inc ebx
  cmp ebx, MSRS
  jb 1b
  load_upper "FRAME + f_gpr"
  cmp dword ptr [FRAME + f_world], LONG64
  je 2f
  mov eax, [WAY + 4]
  mov [to_way], eax
  jmp fword ptr [to_way]
2:mov eax, [WAY]
  jmp rax

# RBX: an entry, whose stretches go to the memory at RDI.
put_stretches:
  lea rsi, [rbx + ENTRY_STRETCHES]
  mov rdx, rdi
1:mov edi, [rsi]
  mov ecx, [rsi + 4]
  add rsi, 8
  test ecx, ecx
  jz 2f
  add rdi, rdx
  rep movsq
  jmp 1b
2:ret

# What no way of leaving has kept: R8 to R15, which it did not touch, and model-specific registers.
ended:
  save_upper "SAVED + f_gpr"
  xor ebx, ebx
1:mov ecx, [msrs + 4 * rbx]
  call read_msr
  mov [SAVED + f_msr + 8 * rbx], rax
  inc ebx
  cmp ebx, MSRS
  jb 1b
  mov rbx, [current]
  mov rbp, [number]
  mov al, '@'
  out PORT, al
  mov rax, rbp
  call print
  xor r12d, r12d
1:mov rax, [SAVED + 8 * r12]
  cmp rax, [rbx + ENTRY_FRAME + 8 * r12]
  je 2f
  mov r13, r12
  call print_word
2:inc r12d
  cmp r12d, f_entry / 8
  jb 1b
  xor esi, esi
  mov r14d, PRIVATE
  call print_memory
  mov esi, PRIVATE_END
  mov r14d, LOW_BYTES
  call print_memory
  mov al, ';'
  out PORT, al
  mov al, '\n'
  out PORT, al
  call undo_stretches
  add rbx, [rbx]
  inc rbp
  jmp next_case

# What the entry at RBX has changed becomes as in the world's template again; what the case itself has changed is mended while it
# is printed. So memory need not be made anew.
undo_stretches:
  lea rdx, [rbx + ENTRY_STRETCHES]
1:mov r8d, [rdx]
  mov r9d, [rdx + 4]
  test r9d, r9d
  jz 2f
  mov rsi, [template]
  add rsi, r8
  push rsi
  mov edi, r8d
  mov ecx, r9d
  rep movsq
  pop rsi
  lea edi, [r8 + EXPECTED]
  mov ecx, r9d
  rep movsq
  lea rdx, [rdx + 8 * r9 + 8]
  jmp 1b
2:ret

# The words from ESI up to R14 that are not as expected; both are multiples of 64. Repeated string instructions take an emulator
# many times as long.
print_memory:
1:mov rax, [rsi]
  xor rax, [rsi + EXPECTED]
  .set at, 8
  .rept 7
  mov rdx, [rsi + at]
  xor rdx, [rsi + EXPECTED + at]
  or rax, rdx
  .set at, at + 8
  .endr
  test rax, rax
  jnz 3f
2:add esi, 64
  cmp esi, r14d
  jb 1b
  ret
3:mov r15d, 8
4:mov rax, [rsi]
  mov rdx, [rsi + EXPECTED]
  cmp rax, rdx
  je 5f
  mov [rsi], rdx
  mov r13d, esi
  shr r13d, 3
  add r13d, MEMORY
  push rsi
  call print_word
  pop rsi
5:add esi, 8
  dec r15d
  jnz 4b
  sub esi, 64
  jmp 2b

# " word:value" of R13 and RAX.
print_word:
  push rax
  mov al, ' '
  out PORT, al
  mov rax, r13
  call print
  mov al, ':'
  out PORT, al
  pop rax
  jmp print

.include "pieces.inc"

# ---- data ---------------------------------------------------------------------------------------------------------------
.balign 4096                 # pages of code are not written to
current: .quad 0
number: .quad 0
template: .quad 0              # of the world that is loaded
loaded: .long -1
.balign 8
msrs: .long 0xc0000100, 0xc0000101, 0xc0000102   # FS_BASE, GS_BASE, KERNEL_GS_BASE
.long 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084   # STAR, LSTAR, CSTAR, FMASK
.long 0x174, 0x175, 0x176    # SYSENTER_CS, _ESP, _EIP
to_way: .long 0
.word 8
.balign 4
to_started: .long started
.word 0x18
.balign 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff   # 32-bit code, data, 64-bit code
.quad 0x0000890000000067, 0  # a TSS that nobody uses
gdt_end:
gdtr: .word gdt_end - gdt - 1
.quad gdt
no_idt: .word 0
.quad 0

.balign 4096
level4: .quad level3 + 7
.fill 511, 8, 0
level3: .quad level2 + 7
.fill 511, 8, 0
level2:
.set at, 0
.rept 32
.quad at + 0x83
.set at, at + 0x200000
.endr
.fill 480, 8, 0

.fill 4096, 1, 0
stack_top:
.balign 8
entries:
