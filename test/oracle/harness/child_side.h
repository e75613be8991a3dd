// A side whose cases run in a child process that lives as long as this object: native code that may do anything, or an
// emulator that may abort. A case that takes the child with it has the outcome kDied, and the next one finds a new child.
#pragma once

#include <functional>

#include "test/oracle/harness/case.h"

#include <sys/types.h>

namespace nestwalk::oracle {

class ChildSide final : public Side {
 public:
  /// In the child: `prepare` once (false: it cannot work here), `run` for every case.
  ChildSide(const char* name, std::function<bool()> prepare, std::function<void(const Case&, Outcome&)> run);
  ~ChildSide() override;
  ChildSide(const ChildSide&) = delete;
  ChildSide& operator=(const ChildSide&) = delete;

  /// Empty where the child could be prepared; else why not.
  const std::string& missing() const { return missing_; }
  const char* name() const override { return name_; }
  void start(std::span<const Case> cases, std::span<Outcome> outcomes) override;
  void finish() override;

 private:
  struct Shared;
  bool spawn();
  void reap();

  const char* name_;
  std::function<bool()> prepare_;
  std::function<void(const Case&, Outcome&)> run_;
  Shared* shared_ = nullptr;
  std::span<const Case> cases_;
  std::span<Outcome> outcomes_;
  pid_t child_ = -1;
  int to_child_ = -1, from_child_ = -1;
  std::string missing_;
};

}  // namespace nestwalk::oracle
