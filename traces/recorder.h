// Turns what passes a core's port and what retires into trace records.
#pragma once

#include "cpu/cpu.h"
#include "mmu/port.h"
#include "traces/stream.h"

namespace nestwalk::traces {

/// For `accesses` and `walks`. An access's walk reads follow its record in a trace of walks.
class AccessRecorder final : public mmu::Observer {
 public:
  AccessRecorder(Writer& writer, Kind kind) : writer_(writer), walks_(kind == Kind::walks) {}

  void access(LinearAddr address, unsigned bytes, mmu::Access access, const Result<mmu::Translation>& t,
              const Bill& bill) override;
  void invalidate(const mmu::Invalidation& what) override;
  void paging(const mmu::PagingState& state) override;

 private:
  Writer& writer_;
  bool walks_;
  mmu::PagingState state_;
};

/// For `instructions`: one record per run of instructions that retired together.
class RetireRecorder final : public cpu::RetireObserver {
 public:
  explicit RetireRecorder(Writer& writer) : writer_(writer) {}
  void retired(u64 rip, const cpu::Insn* first, u32 count) override;

 private:
  Writer& writer_;
};

}  // namespace nestwalk::traces
