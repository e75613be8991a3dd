# The runner of oracle images (GNU as, Intel syntax): a multiboot-1 kernel that takes each case behind it through 64-bit or
# compatibility mode at CPL 3, and prints on the debug console (port 0xe9) what became of it:
#   @case word:value word:value ... ;      in hexadecimal, the words of frame.inc that changed
#   @end;                                  behind the last one
# SDM vol. 3, 9.8.5 (entering IA-32e mode), 6.14 (64-bit interrupts), 7.7 (TSS); vol. 1, 13 (XSAVE).
#
# Snippets own four pages, in the lower half (CODE, DATA); the runner lives in the upper half, so that a user's stray access
# finds nothing there. An exception of a snippet switches to IST1. The timer ends what does not end by itself.
.intel_syntax noprefix
.include "frame.inc"
.include "macros.inc"

.set KERNEL, 0xffffffff80000000
.set PORT, 0xe9
.set TICKS, 4                # after which a case counts as endless

.text
multiboot_header

# ---- from 32-bit protected mode to 64-bit mode --------------------------------------------------------------------------
.code32
.globl _start
_start:
  cli
  cld
  enter_long_mode "boot_level4 - KERNEL", 0x80050033   # PG, AM, WP, NE, ET, MP, PE
  lgdt [boot_gdtr - KERNEL]
  ljmp 0x10, offset low - KERNEL
.code64
low:
  movabs rax, offset high
  jmp rax
high:
  mov rax, offset tss            # the linker cannot cut its address into a descriptor's pieces
  mov [gdt + 0x42], ax
  shr rax, 16
  mov [gdt + 0x44], al
  mov [gdt + 0x47], ah
  shr rax, 16
  mov [gdt + 0x48], eax
  lgdt [gdtr]
  mov rax, offset level4 - KERNEL
  mov cr3, rax
  mov eax, 0x18
  mov ss, eax
  mov rsp, offset stack_top
  xor eax, eax
  lldt ax
  mov eax, 0x40
  ltr ax
  call set_gates
  lidt [idtr]
  call set_features
  call set_timer

# ---- the loop -----------------------------------------------------------------------------------------------------------
# RBX: the case's frame; RBP: its number.
  mov rbx, offset cases
  xor ebp, ebp
next_case:
  cmp rbp, [count]
  jae last_word
  mov [current], rbx
  mov [number], rbp
  mov rdi, offset code_pages + 0x700     # INT3 around the snippet
  mov ecx, 0x240 / 8
  mov rax, 0xcccccccccccccccc
  rep stosq
  lea rsi, [rbx + frame_code]
  mov rdi, offset code_pages + 0x800
  mov ecx, 4
  rep movsq
  mov rdi, offset data_pages
  mov ecx, 8192 / 8
  xor eax, eax
  rep stosq
  lea rsi, [rbx + frame_memory]
  mov rdi, offset data_pages
  mov ecx, EDGE / 8
  rep movsq
  mov rdi, offset data_pages + 4096 - HALF
  mov ecx, 2 * HALF / 8
  rep movsq
  mov rdi, offset data_pages + 8192 - EDGE
  mov ecx, EDGE / 8
  rep movsq
  xor eax, eax
  mov cr2, rax
  mov [ticks], rax
  mov eax, 7
  xor edx, edx
  cmp byte ptr [has_xsave], 0
  je 1f
  xrstor64 [rbx + frame_state]
  jmp 2f
1:fxrstor64 [rbx + frame_state]
2:mov ds, [rbx + frame_ds]
  mov es, [rbx + frame_ds + 8]
  mov fs, [rbx + frame_ds + 16]
  mov gs, [rbx + frame_ds + 24]
  mov rdi, [rbx + frame_fs_base]
  mov ecx, 0xc0000100
  call write_msr
  mov rdi, [rbx + frame_gs_base]
  mov ecx, 0xc0000101
  call write_msr
  push qword ptr [rbx + frame_rip + 32]
  push qword ptr [rbx + frame_rip + 24]
  push qword ptr [rbx + frame_rip + 16]
  push qword ptr [rbx + frame_rip + 8]
  push qword ptr [rbx + frame_rip]
  mov rax, rbx
  load_lower rax
  load_upper rax
  mov rax, [rax]
  iretq

# On IST1: vector, error code, rip, cs, rflags, rsp, ss. What the snippet left goes to the frame `result`.
ended:
  mov [result + 0], rax
  mov [result + 8], rcx
  mov [result + 16], rdx
  mov [result + 24], rbx
  mov [result + 40], rbp
  mov [result + 48], rsi
  mov [result + 56], rdi
  save_upper result
  cld
  pop qword ptr [result + frame_vector]
  pop qword ptr [result + frame_error]
  pop qword ptr [result + frame_rip]
  pop qword ptr [result + frame_rip + 8]
  pop qword ptr [result + frame_rip + 16]
  pop qword ptr [result + frame_rip + 24]
  pop qword ptr [result + frame_rip + 32]
  mov rsp, offset stack_top
  mov rax, [result + frame_rip + 24]
  mov [result + 32], rax
  mov rax, cr2
  mov [result + frame_cr2], rax
  xor eax, eax
  mov ax, ds
  mov [result + frame_ds], rax
  mov ax, es
  mov [result + frame_ds + 8], rax
  mov ax, fs
  mov [result + frame_ds + 16], rax
  mov ax, gs
  mov [result + frame_ds + 24], rax
  mov ecx, 0xc0000100
  call read_msr
  mov [result + frame_fs_base], rax
  mov ecx, 0xc0000101
  call read_msr
  mov [result + frame_gs_base], rax
  mov rdi, offset result + frame_state
  mov ecx, frame_state_bytes / 8
  xor eax, eax
  rep stosq
  mov eax, 7
  xor edx, edx
  cmp byte ptr [has_xsave], 0
  je 1f
  xsave64 [result + frame_state]
  jmp 2f
1:fxsave64 [result + frame_state]
  mov qword ptr [result + frame_state + 512], 3
2:mov rdi, offset result + frame_memory
  mov rsi, offset data_pages
  mov ecx, EDGE / 8
  rep movsq
  mov rsi, offset data_pages + 4096 - HALF
  mov ecx, 2 * HALF / 8
  rep movsq
  mov rsi, offset data_pages + 8192 - EDGE
  mov ecx, EDGE / 8
  rep movsq
  # What lies between the stretches, as stray_of() in case.h sums it up.
  xor r8d, r8d
  mov esi, EDGE
  mov edi, 4096 - HALF
  call add_stray
  mov esi, 4096 + HALF
  mov edi, 8192 - EDGE
  call add_stray
  mov [result + frame_stray], r8

  mov rbx, [current]
  mov rbp, [number]
  mov al, '@'
  out PORT, al
  mov rax, rbp
  call print
  xor r12d, r12d
1:mov r13, [result + 8 * r12]
  cmp r13, [rbx + 8 * r12]
  je 2f
  cmp r12d, frame_code / 8       # the code does not come back
  jb 3f
  cmp r12d, frame_state / 8
  jb 2f
3:mov al, ' '
  out PORT, al
  mov rax, r12
  call print
  mov al, ':'
  out PORT, al
  mov rax, r13
  call print
2:inc r12d
  cmp r12d, frame_bytes / 8
  jb 1b
  mov al, ';'
  out PORT, al
  mov al, '\n'
  out PORT, al
  add rbx, frame_bytes
  inc rbp
  jmp next_case

# ---- pieces -------------------------------------------------------------------------------------------------------------

# The words of the data pages from ESI up to EDI, each times twice its offset plus one, onto R8.
add_stray:
  lea rax, [2 * rsi + 1]
  imul rax, [data_pages + rsi]
  add r8, rax
  add esi, 8
  cmp esi, edi
  jb add_stray
  ret

.include "pieces.inc"

# Gates to the stubs: vectors 0 to 31, the timer, spurious interrupts, LEAVE.
set_gates:
  mov rsi, offset stubs
  xor ecx, ecx
1:mov edx, 0x8e01                # present, 64-bit interrupt gate, IST1
  cmp ecx, 3
  je 3f
  cmp ecx, 4
  je 3f
  cmp ecx, LEAVE
  jne 2f
3:or edx, 0x6000                 # #BP, #OF and LEAVE are the snippets' to raise
2:mov edi, ecx
  shl edi, 4
  lea rax, [idt + rdi]
  mov [rax], si
  mov word ptr [rax + 2], 0x10
  mov byte ptr [rax + 4], 1
  mov byte ptr [rax + 5], dh
  mov rdx, rsi
  shr rdx, 16
  mov [rax + 6], edx
  shr rdx, 32
  mov [rax + 10], dx
  add rsi, 16
  inc ecx
  cmp ecx, 0x31
  jb 1b
  ret

# CR4.OSXSAVE and XCR0, CR4.FSGSBASE, CR4.PKE, where they are (SDM vol. 2, CPUID).
set_features:
  mov eax, 1
  cpuid
  bt ecx, 26
  jnc 1f
  mov rax, cr4
  bts rax, 18
  mov cr4, rax
  mov byte ptr [has_xsave], 1
  xor edx, edx
  mov eax, 3
  bt ecx, 28
  jnc 2f
  or eax, 4
2:xor ecx, ecx
  xsetbv
1:xor eax, eax
  cpuid
  cmp eax, 7
  jb 5f
  mov eax, 7
  xor ecx, ecx
  cpuid
  mov rax, cr4
  bt ebx, 0
  jnc 3f
  bts rax, 16
3:bt ecx, 3
  jnc 4f
  bts rax, 22
4:mov cr4, rax
5:ret

# The PIC's interrupts at 20H, all masked but the timer's; the timer at 1 kHz (Intel 8259A, 8254).
set_timer:
  xor eax, eax
  mov rsi, offset timer_words
1:lodsw
  test eax, eax
  jz 2f
  movzx edx, al
  shr eax, 8
  out dx, al
  xor eax, eax
  jmp 1b
2:ret

# The timer: a case that sees TICKS of them does not end.
tick:
  push rax
  mov al, 0x20
  out 0x20, al
  inc qword ptr [ticks]
  cmp qword ptr [ticks], TICKS
  pop rax
  jae 1f
  iretq
1:push 0
  push HUNG
  jmp ended

.balign 16
stubs:
  .set vector, 0
  .rept 0x31
  .balign 16
  .if vector == 0x20
  jmp tick
  .elseif vector > 0x20 && vector < LEAVE
  iretq
  .else
  .if vector >= 32 || ((0x27d00 >> vector) & 1) == 0
  push 0
  .endif
  push vector
  jmp ended
  .endif
  .set vector, vector + 1
  .endr

# ---- data ---------------------------------------------------------------------------------------------------------------
.balign 4096                     # pages of code are not written to
timer_words: .byte 0x20, 0x11, 0xa0, 0x11, 0x21, 0x20, 0xa1, 0x28, 0x21, 4, 0xa1, 2, 0x21, 1, 0xa1, 1, 0x21, 0xfe, 0xa1, 0xff
.byte 0x43, 0x34, 0x40, 0xa9, 0x40, 0x04, 0, 0   # port, value; 1193 ticks of 1193182 Hz
has_xsave: .byte 0
.balign 8
current: .quad 0
number: .quad 0
ticks: .quad 0

# As in our_side.cpp: the descriptors of Linux; the TSS at 40H; the processor's number.
gdt: .quad 0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
.quad 0x00affb000000ffff, 0, 0x0000890000000067, 0, 0, 0, 0, 0, 0, 0x0040f50000005a5a
gdt_end:
.balign 4
boot_gdtr: .word gdt_end - gdt - 1
.long gdt - KERNEL
.balign 8
gdtr: .word gdt_end - gdt - 1
.quad gdt
idtr: .word 4095
.quad idt
.balign 16
tss: .long 0
.quad stack_top, 0, 0, 0
.quad exception_stack_top        # IST1
.fill 0x66 - 44, 1, 0
.word 104                        # no I/O permission bitmap

.balign 64
result: .fill frame_bytes, 1, 0
.balign 4096
idt: .fill 4096, 1, 0

# Page tables: the upper half has 64 MiB of memory in large pages, for supervisors; while booting the lower half has them too.
# The snippets' pages are users', code is read-only, data is not executable.
boot_level4: .quad boot_level3 - KERNEL + 7
.fill 510, 8, 0
.quad high_level3 - KERNEL + 7
boot_level3: .quad memory_level2 - KERNEL + 7
.fill 511, 8, 0
level4: .quad user_level3 - KERNEL + 7
.fill 510, 8, 0
.quad high_level3 - KERNEL + 7
high_level3: .fill 510, 8, 0
.quad memory_level2 - KERNEL + 7, 0
memory_level2:
.set at, 0
.rept 32
.quad at + 0x83
.set at, at + 0x200000
.endr
.fill 480, 8, 0
user_level3: .quad user_level2 - KERNEL + 7
.fill 511, 8, 0
user_level2: .fill (DATA >> 21), 8, 0
.quad data_level1 - KERNEL + 7
.fill ((CODE - DATA) >> 21) - 1, 8, 0
.quad code_level1 - KERNEL + 7
.fill 511 - (CODE >> 21), 8, 0
data_level1: .quad data_pages - KERNEL + 0x8000000000000007, data_pages - KERNEL + 0x8000000000001007
.fill 510, 8, 0
code_level1: .quad code_pages - KERNEL + 5, code_pages - KERNEL + 0x1005
.fill 510, 8, 0

data_pages: .fill 8192, 1, 0
code_pages: .fill 4096, 1, 0xcc
int LEAVE
.fill 4094, 1, 0xcc
.fill 4096, 1, 0
stack_top:
.fill 4096, 1, 0
exception_stack_top:

.balign 0x20000
cases:
