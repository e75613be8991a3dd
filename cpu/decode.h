// From bytes to Insn, through Zydis (the only file that includes it is decode.cpp), and the binding of meanings.
#pragma once

#include <string>

#include "cpu/cpu.h"

namespace nestwalk::cpu {

enum class Decoded : u8 { ok, undefined, truncated };

/// Decodes one instruction. `undefined`: the bytes mean nothing on this processor: insn.fn raises #UD (length is still set
/// where it is known). `truncated`: `available` bytes were not enough (at most 15 are looked at).
Decoded decode_insn(const u8* bytes, unsigned available, CodeSize size, u64 rip, const Cpuid& cpuid, Insn& insn);
/// The same, true for `ok`.
inline bool decode(const u8* bytes, unsigned available, CodeSize size, u64 rip, const Cpuid& cpuid, Insn& insn) {
  return decode_insn(bytes, available, size, rip, cpuid, insn) == Decoded::ok;
}

u32 traits_of(Op op);
const char* name_of(Op op);
/// Mnemonics and operands for people (Capstone).
std::string listing(const u8* bytes, unsigned available, CodeSize size, u64 rip);

}  // namespace nestwalk::cpu
