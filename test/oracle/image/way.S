# The way into a system case and out of it (GNU as, Intel syntax): one page of the case's own memory, the same on every side of
# the oracle, mapped one to one by the case's page tables. The runner (system.S) jumps to `in64` or `in32` with the case's state
# at FRAME; a case that ends comes to a copy of `leave` beside its end stubs, which keeps what it left at SAVED.
# SDM vol. 3, 9.8.5 (leaving and entering IA-32e mode), 9.9 (switching to real mode), 17.2 (debug registers).
#
# An end stub (system_machine.cpp) is WBINVD, HLT, MOV DR3,EAX, LAHF, SETO AL, OR AL,place*2, MOV DR2,EAX, JMP: the same bytes
# in 16-, 32- and 64-bit code; above CPL 0 WBINVD faults. The runner's images have NOP for HLT. The jump's displacement of
# 16 bits ends at `leave`, that of 32 bits two bytes behind it. So all that a case loses is DR2 and DR3.
.intel_syntax noprefix
.include "system.inc"
.include "macros.inc"

.text
.long in64, in32, leave, leave_end

# ---- out ----------------------------------------------------------------------------------------------------------------
.code16
leave:
  jmp leave16
.code32
leave32:
  mov eax, dr2
  shl eax, 16
  mov ax, ds                 # 66 8C D8
  mov dr2, eax
  xor eax, eax
  .byte 0x40, 0x90           # INC EAX, NOP; in 64-bit code a NOP with REX
  test eax, eax
  jz leave64

# Flat data segments come from the case's own GDT, or from real mode's rules.
.macro to_way32
  mov eax, cr0
  and eax, 1
  shl eax, 4
  mov ds, eax
  mov [SAVED + f_gpr + 8], ecx
  mov ecx, cr0
  mov [SAVED + f_cr0], ecx
  mov [SAVED + f_cs], cs
.endm
  to_way32
  sgdt [SAVED + f_gdtr]
  lgdt [way_gdtr]
  or cl, 1
  mov cr0, ecx
  ljmp 8, offset way32

.code16
leave16:
  mov eax, dr2
  shl eax, 16
  mov ax, ds
  mov dr2, eax
  to_way32
  sgdtd [SAVED + f_gdtr]
  lgdtd [way_gdtr]
  or cl, 1
  mov cr0, ecx
  .byte 0x66, 0xea           # far jump with an offset of 32 bits
  .long way32
  .word 8

.code64
leave64:
  mov [SAVED + f_gpr + 8], rcx
  mov [SAVED + f_cs], cs
  sgdt [SAVED + f_gdtr]
  mov rcx, cr0
  mov [SAVED + f_cr0], rcx
  mov ecx, offset way64
  jmp rcx
leave_end:

# A is eax or rax, and so on; in 64-bit code the words are whole.
.macro save_state a, d, b, sp, bp, si, di
  mov [SAVED + f_gpr + 16], \d
  mov [SAVED + f_gpr + 24], \b
  mov [SAVED + f_gpr + 32], \sp
  mov [SAVED + f_gpr + 40], \bp
  mov [SAVED + f_gpr + 48], \si
  mov [SAVED + f_gpr + 56], \di
  mov \a, dr3
  mov [SAVED + f_gpr], \a
  mov \a, dr2
  mov [SAVED + f_packed], \a
  mov [SAVED + f_es], es
  mov [SAVED + f_ss], ss
  mov [SAVED + f_fs], fs
  mov [SAVED + f_gs], gs
  mov eax, 0x10
  mov ss, eax
  mov \sp, WAY_STACK
  pushf
  pop \a
  mov [SAVED + f_rflags], \a
  push 2
  popf
  mov \a, cr2
  mov [SAVED + f_cr2], \a
  mov \a, cr3
  mov [SAVED + f_cr3], \a
  mov \a, cr4
  mov [SAVED + f_cr4], \a
  and eax, 0xfffdffff        # PCIDE would not let PG go
  mov cr4, \a
  mov \a, dr6
  mov [SAVED + f_dr6], \a
  mov \a, dr7
  mov [SAVED + f_dr7], \a
  mov \a, 0x400
  mov dr7, \a
  mov \a, dr0
  mov [SAVED + f_dr0], \a
  mov \a, dr1
  mov [SAVED + f_dr1], \a
  sidt [SAVED + f_idtr]
  sldt [SAVED + f_ldtr]
  str [SAVED + f_tr]
  mov ecx, 0xc0000080
  rdmsr
  mov [SAVED + f_efer], eax
.endm

.code32
way32:
  mov eax, 0x10
  mov ds, eax
  save_state eax, edx, ebx, esp, ebp, esi, edi
  mov eax, 0x31              # NE, ET, PE
  mov cr0, eax
  jmp [BACK32]

.code64
way64:
  lgdt [way_gdtr]            # SS comes from a table that is known
  save_state rax, rdx, rbx, rsp, rbp, rsi, rdi
  mov eax, [BACK64 + 8]      # the runner's CR3
  mov cr3, rax
  mov eax, [BACK64]
  jmp rax

# ---- in -----------------------------------------------------------------------------------------------------------------
# The task register's descriptor is busy in every start; LTR wants it available and makes it busy.
.macro load_tables
  lgdt [FRAME + f_gdtr]
  and byte ptr [GDT + TSS_SELECTOR + 5], 0xfd
  mov eax, TSS_SELECTOR
  ltr ax
  lldt [FRAME + f_ldtr]
.endm
.macro load_registers
  mov ecx, [FRAME + f_gpr + 8]
  mov edx, [FRAME + f_gpr + 16]
  mov ebx, [FRAME + f_gpr + 24]
  mov ebp, [FRAME + f_gpr + 40]
  mov esi, [FRAME + f_gpr + 48]
  mov edi, [FRAME + f_gpr + 56]
  mov es, [FRAME + f_es]
  mov fs, [FRAME + f_fs]
  mov gs, [FRAME + f_gs]
  mov ss, [FRAME + f_entry]
  mov esp, [FRAME + f_entry + 8]
  mov eax, [FRAME + f_gpr]
  mov ds, [FRAME + f_ds]
.endm

.code64
in64:
  mov rax, [FRAME + f_cr4]
  mov cr4, rax
  mov rax, [FRAME + f_cr0]
  mov cr0, rax
  mov ecx, 0xc0000080
  mov eax, [FRAME + f_efer]
  xor edx, edx
  wrmsr
  mov rax, [FRAME + f_cr3]
  mov cr3, rax
  load_tables
  lidt [FRAME + f_idtr]
  mov rax, [FRAME + f_cr2]
  mov cr2, rax
  mov rax, [FRAME + f_dr7]
  mov dr7, rax
  mov ss, [FRAME + f_entry]
  mov es, [FRAME + f_es]
  mov fs, [FRAME + f_fs]
  mov gs, [FRAME + f_gs]
  mov ds, [FRAME + f_ds]
  mov esp, FRAME + f_rip
  mov rax, [FRAME + f_gpr]
  load_lower "FRAME + f_gpr"
  iretq

# From compatibility mode, in the runner's flat segments.
.code32
in32:
  mov eax, 0x31
  mov cr0, eax
  mov ecx, 0xc0000080
  mov eax, [FRAME + f_efer]
  xor edx, edx
  wrmsr
  mov eax, [FRAME + f_cr4]
  mov cr4, eax
  mov eax, [FRAME + f_cr3]
  mov cr3, eax
  mov eax, [FRAME + f_cr0]
  or al, 1
  mov cr0, eax
  load_tables
  mov eax, [FRAME + f_cr2]
  mov cr2, eax
  mov eax, [FRAME + f_dr7]
  mov dr7, eax
  test byte ptr [FRAME + f_cr0], 1
  jz to_real
  lidt [FRAME + f_idtr]
  load_registers
  iretd

to_real:
  lgdt [way_gdtr]
  mov eax, 0x20
  mov ds, eax
  mov es, eax
  mov fs, eax
  mov gs, eax
  mov ss, eax
  ljmp 0x18, offset in16
.code16
in16:
  lgdtd [FRAME + f_gdtr]
  lidtd [FRAME + f_idtr]
  mov eax, [FRAME + f_cr0]
  mov cr0, eax
  ljmp 0, offset in_real
in_real:
  load_registers
  iretd

# 32-bit code and data, 16-bit code and data
.balign 8
way_gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00009b000000ffff, 0x000093000000ffff
way_gdt_end:
way_gdtr: .word way_gdt_end - way_gdt - 1
.quad way_gdt
