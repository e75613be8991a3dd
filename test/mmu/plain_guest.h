// A virtual machine without a hypervisor's bookkeeping: its memory lies at one offset, frames for tables come from a list.
#pragma once

#include <set>

#include "mmu/guest.h"
#include "test/catch.h"

namespace nestwalk::test {

class PlainGuest final : public mmu::Guest {
 public:
  explicit PlainGuest(u64 base, u64 tables, unsigned number = 0) : base_(base), next_(tables), number_(number) {}
  unsigned number() const override { return number_; }
  mmu::Backing back(PhysAddr a, bool, Bill&) override { return look(a); }
  mmu::Backing look(PhysAddr a) const override {
    mmu::Backing b;
    b.kind = mmu::Backing::Kind::memory;
    b.writable = true;
    b.address = MachineAddr(base_ + a.value);
    return b;
  }
  MachineAddr take_frame() override {
    next_ += kPageBytes;
    ++taken;
    return MachineAddr(next_ - kPageBytes);
  }
  void give_frame(MachineAddr frame) override {
    CHECK(frame.value < next_);
    CHECK(returned.insert(frame.value).second);  // not twice
  }
  void exit(mmu::Exit, Bill&) override {}
  void work(mmu::Exit, Cycles, Bill&) override {}

  unsigned taken = 0;
  std::set<u64> returned;  ///< never given again: frames are promised to be zero

 private:
  u64 base_, next_;
  unsigned number_;
};

}  // namespace nestwalk::test
