# A small kernel that does to a TLB whatever a guest can: two address spaces with their PCIDs, global pages, pages of 4K, 2M and 1G,
# loads, stores and updates from both rings, accesses across pages, user code fetched from 512 aliases of one page, table entries
# that lose their presence, their write permission or their frame, and INVLPG, INVPCID, MOV CR3 with and without bit 63 and
# CR4.PGE to forget them. Its #PF handler repairs what is missing. What comes next is drawn from a linear congruential generator.
# Assembled with STRICT=1 every change of an entry is followed by the invalidation that the SDM demands, and the instructions
# that retire are the same under every TLB; with STRICT=0 stale entries stay in use.
# Needs PCID, INVPCID, SMEP, SMAP and 1G pages (cpu.model = skylake).
# image: multiboot
# status: 0
.include "guest.inc"
.include "long.inc"
.ifndef STRICT
.set STRICT, 0
.endif
.ifndef ROUNDS
.set ROUNDS, 20000
.endif
multiboot_header
.code32
.globl _start
_start:
  cli
  cld
  enter_long_mode

.set WINDOW, 0x40000000         # 512 pages of 4K, each space its own frames
.set SHARED, 0x40200000         # 512 global pages of 4K
.set LARGE, 0x40400000          # two global pages of 2M
.set CODE, 0x80000000           # 512 pages of 4K, all the frame `user_page`
.set HUGE, 0xc0000000           # one page of 1G, for the supervisor: all memory

# rax = a random number below 2^31.
.macro random
  imul r15, r12
  add r15, 12345
  mov rax, r15
  shr rax, 33
.endm

# rcx = a random address in a region of 2^21 bytes at `base`, a multiple of 8 but for `and` of other bits.
.macro random_address base mask=0x1ffff8
  random
  and eax, \mask
  mov ecx, \base
  add rcx, rax
.endm

# Fills 512 entries at `table`: `first`, and each `step` more.
.macro fill table, first, step
  mov rdi, offset \table
  mov eax, \first
  mov ecx, 512
.Lfill\@:
  mov [rdi], rax
  add rax, \step
  add rdi, 8
  dec ecx
  jnz .Lfill\@
.endm

main64:
  set_gate idt64 14 page_fault 1 0x10
  set_gate idt64 0x80 back_from_user 1 0x10
  mov byte ptr [idt64 + 16 * 0x80 + 5], 0xee
  fill table_a, 0x1000007, 0x1000
  fill table_b, 0x1200007, 0x1000
  fill table_shared, 0x1400107, 0x1000
  fill table_code, "offset user_page + 5", 0
  mov qword ptr [low], 0x183
  mov qword ptr [pointers_a], offset low + 7
  mov qword ptr [pointers_b], offset low + 7
  mov qword ptr [pointers_a + 8], offset windows_a + 7
  mov qword ptr [pointers_b + 8], offset windows_b + 7
  mov qword ptr [pointers_a + 16], offset codes + 7
  mov qword ptr [pointers_b + 16], offset codes + 7
  mov qword ptr [pointers_a + 24], 0x83
  mov qword ptr [pointers_b + 24], 0x83
  mov qword ptr [windows_a], offset table_a + 7
  mov qword ptr [windows_b], offset table_b + 7
  mov qword ptr [codes], offset table_code + 7
  mov rax, offset table_shared + 7
  mov [windows_a + 8], rax
  mov [windows_b + 8], rax
  mov eax, 0x1800187
  mov [windows_a + 16], rax
  mov [windows_b + 16], rax
  mov eax, 0x1a00187
  mov [windows_a + 24], rax
  mov [windows_b + 24], rax
  mov qword ptr [top_a], offset pointers_a + 7
  mov qword ptr [top_b], offset pointers_b + 7
  mov eax, offset top_a
  mov cr3, rax
  mov rax, cr4
  or eax, 0x320080              # SMAP, SMEP, PCIDE, PGE
  mov cr4, rax
  mov eax, offset top_a + 1
  mov cr3, rax
  mov r13d, offset table_a
  mov r14d, ROUNDS
  mov r15d, 1
  movabs r12, 6364136223846793005

loop:
  dec r14d
  js done
  random
  and eax, 31
  jmp [rax * 8 + choices]
done:
  finish 0

# ---- accesses ---------------------------------------------------------------------------------------------------------------
window_load:
  random_address WINDOW
  stac
  mov rbx, [rcx]
  clac
  jmp loop
window_store:
  random_address WINDOW
  stac
  mov [rcx], rax
  clac
  jmp loop
window_update:
  random_address WINDOW
  stac
  lock add [rcx], eax
  clac
  jmp loop
near_load:                      # few pages: hits
  random_address WINDOW 0xfff8
  stac
  mov rbx, [rcx]
  clac
  jmp loop
near_store:
  random_address WINDOW 0xfff8
  stac
  mov [rcx], rax
  clac
  jmp loop
crossing_load:                  # 8 bytes of which 4 lie on the next page
  random_address WINDOW 0x1ff000
  stac
  mov rbx, [rcx + 0xffc]
  clac
  jmp loop
crossing_store:
  random_address WINDOW 0x1fe000
  stac
  mov [rcx + 0xffc], rbx
  clac
  jmp loop
shared_load:
  random_address SHARED
  stac
  mov rbx, [rcx]
  clac
  jmp loop
shared_store:
  random_address SHARED
  stac
  mov [rcx], rax
  clac
  jmp loop
large_access:
  random_address LARGE 0x3ffff8
  stac
  add [rcx], rax
  clac
  jmp loop
huge_load:
  random_address HUGE 0x3ffff8
  mov rbx, [rcx]
  jmp loop

# ---- changes of table entries -------------------------------------------------------------------------------------------------
# rsi = address of the entry of a random near page in this space, rcx = the address it maps.
.macro random_entry
  random_address WINDOW 0xf000
  shr eax, 9
  lea rsi, [r13 + rax]
.endm
.macro forget_strictly
.if STRICT
  invlpg [rcx]
.endif
  jmp loop
.endm

take_presence:
  random_entry
  and qword ptr [rsi], -2
  forget_strictly
take_write:
  random_entry
  and qword ptr [rsi], -3
  forget_strictly
give_write:                     # rights that grow need no invalidation
  random_entry
  or qword ptr [rsi], 3
  jmp loop
change_frame:
  random_entry
  xor qword ptr [rsi], 0x1000
  forget_strictly
clear_dirty:
  random_entry
  and qword ptr [rsi], -0x61
  forget_strictly
take_code:
  random_address CODE 0x1ff000
  shr eax, 9
  and qword ptr [table_code + eax], -2
.if STRICT
  mov qword ptr [descriptor], 1
  mov [descriptor + 8], rcx
  xor ebx, ebx
  invpcid rbx, [descriptor]     # both spaces have it
  mov byte ptr [descriptor], 2
  invpcid rbx, [descriptor]
.endif
  jmp loop

# ---- invalidations ------------------------------------------------------------------------------------------------------------
forget_page:
  random_address WINDOW 0xfff8
  invlpg [rcx]
  jmp loop
forget_shared:
  random_address SHARED
  invlpg [rcx]
  jmp loop
forget_by_pcid:
  random
  mov ebx, eax
  and ebx, 3                    # type
  shr eax, 4
  and eax, 1
  inc eax
  mov [descriptor], rax         # PCID 1 or 2
  random_address WINDOW
  mov [descriptor + 8], rcx
  cmp ebx, 2                    # everything: less often
  jne 1f
  and eax, 0x7000
  jnz loop
1: invpcid rbx, [descriptor]
  jmp loop
toggle_global:
  random
  and eax, 7
  jnz loop
  mov rax, cr4
  xor eax, 0x80
  mov cr4, rax
  mov ecx, HUGE + 0x100000
  mov rbx, [rcx]
  xor eax, 0x80
  mov cr4, rax
  jmp loop

# ---- contexts -----------------------------------------------------------------------------------------------------------------
# The other address space; with bit 63 its entries are kept.
.macro other_space
  mov eax, offset top_a + 1
  mov ecx, offset table_a
  cmp r13d, ecx
  jne 1f
  mov eax, offset top_b + 2
  mov ecx, offset table_b
1: mov r13d, ecx
.endm
switch_keeping:
  other_space
  bts rax, 63
  mov cr3, rax
  jmp loop
switch_flushing:
  other_space
  mov cr3, rax
  jmp loop

run_user:
  random_address CODE 0x1ff000
  push 0x2b
  push 0
  push 2
  push 0x33
  push rcx
  iretq
back_from_user:
  add rsp, 40
  jmp loop

# ---- faults -------------------------------------------------------------------------------------------------------------------
# What is missing is given: presence and write permission in the window, presence of the code page.
page_fault:
  push rax
  push rcx
  push rsi
  test dword ptr [rsp + 24], 8  # reserved bits: none of ours
  check 10 z
  mov rax, cr2
  mov rcx, rax
  shr rax, 9
  and eax, 0xff8
  mov rsi, r13
  shr rcx, 21
  cmp ecx, WINDOW >> 21
  je 1f
  mov esi, offset table_shared
  cmp ecx, SHARED >> 21
  je 1f
  cmp ecx, CODE >> 21
  check 11 e
  or qword ptr [table_code + rax], 1
  jmp 2f
1: or qword ptr [rsi + rax], 3
2: inc dword ptr [faults]
  pop rsi
  pop rcx
  pop rax
  add rsp, 8
  iretq

# One page that runs at any address, in ring 3.
.align 4096
user_page:
  mov edi, 6
1: random_address WINDOW 0x1fff8
  test eax, 0x1000
  jz 2f
  mov rbx, [rcx]
  jmp 3f
2: mov [rcx], rax
3: random_address SHARED 0xff8
  mov rbx, [rcx]
  dec edi
  jnz 1b
  int 0x80
.align 4096

.data
.align 8
choices:
.quad window_load, window_load, window_store, window_update, near_load, near_load, near_load, near_load
.quad near_store, near_store, near_store, crossing_load, crossing_store, shared_load, shared_store, large_access
.quad huge_load, take_presence, take_write, give_write, give_write, change_frame, clear_dirty, take_code
.quad forget_page, forget_shared, forget_by_pcid, toggle_global, switch_keeping, switch_flushing, run_user, run_user
descriptor: .quad 0, 0
faults: .long 0
.bss
.align 4096
low: .skip 4096
top_a: .skip 4096
top_b: .skip 4096
pointers_a: .skip 4096
pointers_b: .skip 4096
windows_a: .skip 4096
windows_b: .skip 4096
table_a: .skip 4096
table_b: .skip 4096
table_shared: .skip 4096
codes: .skip 4096
table_code: .skip 4096
