// Who runs next, for how long, and what time has passed meanwhile: the host's scheduler, and the turns that the processors
// of one machine take. Everything is decided by guest time and cycles, so a run repeats itself.
#include <algorithm>
#include <limits>

#include "emu/host.h"

namespace nestwalk::emu {

using cpu::Stop;

namespace {
constexpr Cycles kNever = std::numeric_limits<Cycles>::max();
}

void Tenant::settle() {
  for (auto& v : vcpus)
    if (v->share) v->share->settle();
}

Cycles Tenant::used() const {
  Cycles n = 0;
  for (const auto& v : vcpus) n += v->used;
  return n;
}

u64 Tenant::world_switches() const {
  u64 n = 0;
  for (const auto& v : vcpus) n += v->world_switches;
  return n;
}

// ---- who is next -------------------------------------------------------------------------------------------------------

/// Under the instruction clock the order of a machine's processors is that of their guest time, whatever the cores do.
void Host::take_turns(Tenant& t) {
  t.turn = nullptr;
  for (const auto& v : t.vcpus)
    if (!t.turn || v->processor.ready_at() < t.turn->processor.ready_at()) t.turn = v.get();
}

bool Host::may_run(const Vcpu& v) const { return v.tenant.ended == Stop::none && (!v.tenant.turn || v.tenant.turn == &v); }

/// When, in its core's time, it may go on; kNever: not before somebody else has done something.
Cycles Host::ready_at(const Vcpu& v) const {
  if (!may_run(v)) return kNever;
  const bool by_cycles = params_.guest_clock == sim::Clock::Guest::cycles;
  if (!by_cycles) return v.processor.ready_at() == kNever ? kNever : v.core.time.now;
  const Cycles ready = v.processor.clock().cycles_at(v.processor.ready_at());
  return v.processor.is_asleep() || v.tenant.processors > 1 ? std::max(v.core.time.now, ready) : v.core.time.now;
}

/// The same of a core. Whose time slice is not over keeps it, even where it must wait to read the time.
Cycles Host::ready_at(const Physical& p) const {
  if (p.holder && ready_at(*p.holder) != kNever) return ready_at(*p.holder);
  Cycles ready = kNever;
  for (const Vcpu* v : p.vcpus) ready = std::min(ready, ready_at(*v));
  return ready;
}

/// The core that is furthest behind, and whom it runs. nullptr: nobody can go on.
Vcpu* Host::next() {
  if (params_.guest_clock == sim::Clock::Guest::instructions)
    for (auto& t : tenants_)
      if (t->processors > 1) take_turns(*t);
  Physical* first = nullptr;
  Cycles when = kNever;
  for (auto& p : cores_) {
    const Cycles ready = ready_at(*p);
    if (ready < when) first = p.get(), when = ready;
  }
  if (!first) return nullptr;
  Vcpu* const v = choose(*first);
  // Where all sleep, the core's time goes on to the first event of theirs.
  if (v->processor.is_asleep()) first->time.now = std::max(first->time.now, ready_at(*v));
  return v;
}

/// Of those that may go on first: the one whose slice is not over, or whom the scheduler chooses.
Vcpu* Host::choose(Physical& p) {
  if (p.holder && ready_at(*p.holder) != kNever) return p.holder;
  end_slice(p);
  const Cycles first = ready_at(p);
  const std::size_t n = p.vcpus.size();
  Vcpu* best = nullptr;
  for (std::size_t i = 0; i < n; ++i) {
    Vcpu* const v = p.vcpus[(p.turn + i) % n];
    if (ready_at(*v) > first) continue;
    if (host_.scheduler == HostParams::Scheduler::round_robin) {
      p.turn = (p.turn + i + 1) % n;
      return v;
    }
    const auto share = [](const Vcpu& x) { return static_cast<u128>(x.used) * 1'000'000 / x.tenant.weight; };
    if (!best || share(*v) < share(*best)) best = v;
  }
  return best;
}

// ---- the core changes hands --------------------------------------------------------------------------------------------

/// The processor's clock goes to the core's time. What it slept of that is idle, the rest it waited for the others.
void Host::catch_up(Vcpu& v) {
  Processor& p = v.processor;
  sim::Clock& clock = p.clock();
  if (v.core.time.now > clock.cycles) {
    const bool by_cycles = params_.guest_clock == sim::Clock::Guest::cycles;
    const Cycles ready = by_cycles && p.is_asleep() ? clock.cycles_at(p.ready_at()) : 0;
    const Cycles woke = std::clamp(ready, clock.cycles, v.core.time.now), waited = v.core.time.now - woke;
    p.port().book(Cause::idle, woke - clock.cycles);
    p.port().book(Cause::away, waited);
    clock.cycles = woke;
    if (host_.steal == HostParams::Steal::hidden && v.tenant.processors == 1)
      clock.pass_unseen(waited);
    else
      clock.cycles += waited;
  }
  if (p.is_asleep() && p.ready_at() != kNever) clock.skip_to(p.ready_at());
}

void Host::enter(Vcpu& v, bool billed) {
  if (billed) catch_up(v);
  Physical& p = v.core;
  if (p.current == &v) return;
  if (p.current && p.current->share) p.current->share->end();
  const bool switched = billed && p.current;
  p.current = &v;
  if (v.share) v.share->begin();
  if (!v.tenant.space) return;
  Bill bill;
  p.core->model->enter(*v.tenant.space, v.processor.vcpu(), bill);
  if (switched) {
    bill.charge(Cause::world, costs_.world_switch);
    v.processor.port().pay(bill);
    ++v.world_switches;
  }
  v.processor.port().resume();
}

// ---- turns -------------------------------------------------------------------------------------------------------------

void Host::end_slice(Physical& p) {
  if (p.holder && p.alarm) p.holder->processor.clock().cancel(p.alarm);
  p.alarm = 0;
  p.holder = nullptr;
}

void Host::run_turn(Vcpu& v) {
  Physical& p = v.core;
  Machine& m = *v.tenant.machine;
  sim::Clock& clock = v.processor.clock();
  const auto alive = [](const Vcpu* x) { return x->tenant.ended == Stop::none; };
  const bool others = std::count_if(p.vcpus.begin(), p.vcpus.end(), alive) > 1;
  v.processor.shares_core = others && params_.guest_clock == sim::Clock::Guest::cycles;
  if (p.holder != &v) {
    p.holder = &v;
    if (others)
      p.alarm = clock.at(clock.now() + clock.from_hz(host_.slice_us, 1'000'000),
                         [&v] { v.processor.cpu().stop(Stop::preempted); });
  }
  const bool siblings = v.tenant.processors > 1;
  if (siblings) clock.set_fence(clock.now() + params_.quantum);
  const Cycles before = clock.cycles;
  const u64 done = siblings ? m.instructions() - clock.instructions : 0;  // by the others
  Stop why;
  try {
    why = v.processor.run(v.tenant.limit - done);
  } catch (const vmm::OutOfMemory&) {
    why = Stop::crashed;
  }
  if (siblings) {
    clock.set_fence(kNever);
    for (auto& other : v.tenant.vcpus) other->processor.look_at_line(clock.now());
  }
  if (m.reboots_after(why)) {
    p.time.now = std::max(p.time.now, clock.cycles);
    enter(*v.tenant.vcpus[0], true);
    m.reboot();
    why = Stop::turn_over;
  }
  if (why != Stop::turn_over) end_slice(p);
  if (why == Stop::preempted) v.processor.intercept(mmu::Exit::interrupt);
  p.time.now = std::max(p.time.now, clock.cycles);
  v.used += clock.cycles - before;
  settle(v, why);
}

void Host::settle(Vcpu& v, Stop why) {
  Tenant& t = v.tenant;
  if (why == Stop::asleep && t.processors > 1 && t.machine->is_dead()) why = Stop::halted_forever;
  if (why == Stop::asleep || why == Stop::preempted || why == Stop::turn_over) return;
  if (why != Stop::limit)
    t.ended = why;
  else if (on_limit)
    on_limit(t);
  else
    t.ended = Stop::limit;
}

void Host::run() {
  while (Vcpu* const v = next()) {
    enter(*v, true);
    run_turn(*v);
    if (stop_ == Stop::none) continue;
    for (auto& each : tenants_)
      if (each->ended == Stop::none) each->ended = stop_;
  }
  for (auto& t : tenants_)
    if (t->ended == Stop::none) t->ended = Stop::halted_forever;
}

void Host::stop(Stop why) {
  stop_ = why;
  for (auto& t : tenants_) t->machine->stop(why);
}

}  // namespace nestwalk::emu
