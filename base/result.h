// Result<T>: a value or a Fault. Below mmu::Port a fault is a value that is returned, never an exception.
#pragma once

#include "base/types.h"

namespace nestwalk {

/// Why a translation has no answer, in the terms the processor needs to raise it.
struct Fault {
  enum class Kind : u8 {
    none,
    page_fault,     ///< #PF; `error` is the SDM's page-fault error code, `address` goes to CR2
    alignment,      ///< #AC(0): EFLAGS.AC, CR0.AM and CPL 3
    non_canonical,  ///< #GP(0), or #SS(0) when the access used the stack segment
    violation,      ///< a stage below the guest's tables refused (EPT violation, nested page fault): for the hypervisor;
                    ///< `address` is guest-physical, `error` in the terms of that stage's table format, and kOfTable
    misconfigured,  ///< an entry of such a stage is malformed (EPT misconfiguration)
  };
  /// In `error` of a violation: met on the way to an entry of the guest's tables, not to the byte accessed.
  static constexpr u32 kOfTable = u32{1} << 31;

  Kind kind = Kind::none;
  u32 error = 0;
  u64 address = 0;
};

/// Page-fault error code bits (SDM vol. 3, 4.7).
namespace pf {
inline constexpr u32 present = 1, write = 2, user = 4, reserved = 8, fetch = 16, protection_key = 32;
}

template <class T>
class [[nodiscard]] Result {
 public:
  Result(const T& value) : value_(value) {}
  Result(const Fault& fault) : fault_(fault) {}

  bool ok() const { return fault_.kind == Fault::Kind::none; }
  explicit operator bool() const { return ok(); }
  const T& value() const { return value_; }
  T& value() { return value_; }
  const T* operator->() const { return &value_; }
  const T& operator*() const { return value_; }
  const Fault& fault() const { return fault_; }

 private:
  T value_{};
  Fault fault_{};
};

/// The value of a Result that only says "it happened".
struct Done {};

}  // namespace nestwalk
