// What the MMU models of a host's cores have in common. The tables that a hypervisor keeps for a virtual machine are the
// machine's, not a core's: models find them here, by type. And what one core changes in them so that another core's TLBs
// may hold something stale, is announced here: a remote flush (kvm_flush_remote_tlbs in Linux; SDM vol. 3, 29.4.3.4).
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <typeindex>
#include <vector>

#include "mmu/guest.h"

namespace nestwalk::mmu {

class Commons {
 public:
  /// One core's model.
  class Member {
   public:
    virtual ~Member() = default;
    /// Whatever the core has cached of the machine goes. False: the machine was never there.
    virtual bool flush_remotely(Guest& guest, Bill& bill) = 0;
  };

  void join(Member& m) { members_.push_back(&m); }
  void leave(Member& m) { std::erase(members_, &m); }

  /// The object of this type that all share, made by the first that asks.
  template <class T, class Make>
  std::shared_ptr<T> shared(Make&& make) {
    std::shared_ptr<void>& part = parts_[std::type_index(typeid(T))];
    if (!part) part = make();
    return std::static_pointer_cast<T>(part);
  }

  /// Every core but the one of `self` forgets what it has of the machine; the hypervisor's work for each of them is billed.
  void flush_others(const Member& self, Guest& guest, Bill& bill) {
    unsigned cores = 0;
    for (Member* m : members_)
      if (m != &self) cores += m->flush_remotely(guest, bill);
    if (cores) guest.remote_flush(cores, bill);
  }

 private:
  std::vector<Member*> members_;
  std::map<std::type_index, std::shared_ptr<void>> parts_;
};

}  // namespace nestwalk::mmu
