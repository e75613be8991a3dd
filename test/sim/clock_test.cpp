// The clock's events against the order in which they must run.
#include "sim/clock.h"

#include <algorithm>
#include <string>

#include "base/random.h"
#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::sim;

TEST_CASE("events run by time, and those of the same time as they were scheduled") {
  Clock clock;
  std::string order;
  const auto say = [&](char c) { return [&order, c] { order += c; }; };
  clock.at(20, say('d'));
  clock.at(10, say('a'));
  clock.at(10, say('b'));
  clock.at(15, say('c'));
  clock.at(21, say('e'));
  CHECK(clock.deadline() == 10);
  clock.cycles = 9;
  clock.run_due();
  CHECK(order.empty());
  clock.cycles = 20;
  clock.run_due();
  CHECK(order == "abcd");
  CHECK(clock.deadline() == 21);
  CHECK(clock.has_events());
}

TEST_CASE("a random schedule runs in the order of a stable sort") {
  Random random(7);
  Clock clock;
  std::vector<std::pair<u64, unsigned>> expected;
  std::vector<unsigned> ran;
  std::vector<Clock::EventId> ids;
  for (unsigned i = 0; i < 500; ++i) {
    const u64 when = random.below(100);
    ids.push_back(clock.at(when, [&ran, i] { ran.push_back(i); }));
    expected.emplace_back(when, i);
  }
  for (unsigned i = 0; i < 500; i += 3) {
    clock.cancel(ids[i]);
    expected[i].first = ~u64{0};
  }
  std::stable_sort(expected.begin(), expected.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<unsigned> order;
  for (const auto& [when, i] : expected)
    if (when != ~u64{0}) order.push_back(i);
  for (clock.cycles = 0; clock.has_events(); clock.cycles += 7) clock.run_due();
  CHECK(ran == order);
  CHECK(clock.deadline() == ~u64{0});
}

TEST_CASE("a cancelled event does not run, even when another due event cancels it") {
  Clock clock;
  int ran = 0;
  const Clock::EventId late = clock.at(5, [&] { ran += 100; });
  clock.at(4, [&] {
    ++ran;
    clock.cancel(late);
  });
  clock.cancel(0);
  clock.cancel(12345);
  clock.cycles = 10;
  clock.run_due();
  CHECK(ran == 1);
  CHECK_FALSE(clock.has_events());
}

TEST_CASE("what a due event schedules for this moment runs too, behind what was due already") {
  Clock clock;
  std::string order;
  clock.at(3, [&] {
    order += 'a';
    clock.at(1, [&] { order += 'c'; });  // the past means now
  });
  clock.at(5, [&] { order += 'b'; });
  clock.cycles = 5;
  clock.run_due();
  CHECK(order == "abc");
}

TEST_CASE("an event that reschedules itself at once cannot hold the machine") {
  Clock clock;
  u64 ran = 0;
  std::function<void()> again = [&] {
    ++ran;
    clock.at(clock.now(), again);
  };
  clock.at(0, again);
  clock.run_due();
  CHECK(ran == 2);
  CHECK(clock.deadline() <= *clock.ticker());
  clock.run_due();
  CHECK(ran == 4);
}

TEST_CASE("an event that throws is gone, and the others wait on") {
  Clock clock;
  int ran = 0;
  clock.at(1, [] { throw 5; });
  clock.at(2, [&] { ++ran; });
  clock.cycles = 2;
  CHECK_THROWS_AS(clock.run_due(), int);
  CHECK(clock.deadline() == 2);
  clock.run_due();
  CHECK(ran == 1);
}

TEST_CASE("a halted core skips to the next event: cycles pass under the cycle clock") {
  Clock clock(Clock::Guest::cycles);
  Ticks skipped = 99;
  CHECK_FALSE(clock.skip_to_next(skipped));
  CHECK(skipped == 0);
  clock.cycles = 40;
  clock.at(100, [] {});
  CHECK(clock.skip_to_next(skipped));
  CHECK(skipped == 60);
  CHECK(clock.cycles == 100);
  CHECK(clock.skip_to_next(skipped));
  CHECK(skipped == 0);
}

TEST_CASE("a halted core skips to the next event: time passes without instructions under the instruction clock") {
  Clock clock(Clock::Guest::instructions);
  int ran = 0;
  clock.instructions = 40;
  clock.at(100, [&] { ++ran; });
  clock.at(130, [&] { ++ran; });
  CHECK(clock.deadline() == 100);
  Ticks skipped = 0;
  CHECK(clock.skip_to_next(skipped));
  CHECK(skipped == 60);
  CHECK(clock.instructions == 40);
  CHECK(clock.cycles == 0);
  CHECK(clock.now() == 100);
  CHECK(*clock.ticker() >= clock.deadline());
  clock.run_due();
  CHECK(ran == 1);
  CHECK(clock.deadline() == 70);  // 130 in guest time is instruction 70 from now on
  clock.instructions = 69;
  clock.run_due();
  CHECK(ran == 1);
  clock.instructions = 70;
  clock.run_due();
  CHECK(ran == 2);
}

TEST_CASE("cycles that guest time does not see put its events off by as many") {
  Clock clock(Clock::Guest::cycles);
  std::vector<Ticks> seen;
  clock.cycles = 100;
  clock.at(150, [&] { seen.push_back(clock.now()); });
  clock.pass_unseen(1000);
  CHECK(clock.now() == 100);
  CHECK(clock.deadline() == 1150);
  CHECK(clock.cycles_at(150) == 1150);
  CHECK(clock.cycles_at(~Ticks{0}) == ~Cycles{0});
  clock.cycles = 1149;
  clock.run_due();
  CHECK(seen.empty());
  clock.cycles = 1150;
  clock.run_due();
  CHECK(seen == std::vector<Ticks>{150});
  clock.at(400, [] {});
  clock.skip_to(400);
  CHECK(clock.cycles == 1400);
}

TEST_CASE("durations convert without overflow, rounded up, and saturate") {
  const Clock clock(Clock::Guest::cycles, 3'000'000'000);
  CHECK(clock.from_hz(1, 1'000'000'000) == 3);
  CHECK(clock.from_hz(1, 1'193'182) == 2515);  // 2514.28 cycles a PIT period
  CHECK(clock.to_hz(2514, 1'193'182) == 0);
  CHECK(clock.to_hz(2515, 1'193'182) == 1);
  CHECK(clock.from_hz(u64{1} << 62, 3'000'000'000) == u64{1} << 62);
  CHECK(clock.from_hz(~u64{0}, 1) == ~u64{0});
  CHECK(clock.from_hz(1, 0) == ~u64{0});
  CHECK(clock.to_hz(~u64{0}, 4'000'000'000) == ~u64{0});
  CHECK(clock.to_hz(u64{3'000'000'000} * 86'400 * 365, 1) == 86'400 * 365);
  for (u64 n = 1; n < 5000; n += 13) CHECK(clock.to_hz(clock.from_hz(n, 1'193'182), 1'193'182) == n);
}

TEST_CASE("a fence brings the deadline forward without being an event, in both clocks") {
  for (const auto guest : {Clock::Guest::cycles, Clock::Guest::instructions}) {
    Clock clock(guest);
    u64& raw = guest == Clock::Guest::cycles ? clock.cycles : clock.instructions;
    CHECK_FALSE(clock.is_past_fence());
    CHECK(clock.next_event() == ~u64{0});
    clock.at(50, [] {});
    clock.set_fence(30);
    CHECK(clock.deadline() == 30);
    CHECK(clock.next_event() == 50);
    raw = 30;
    CHECK(clock.is_past_fence());
    clock.run_due();
    CHECK(clock.has_events());
    clock.set_fence(80);
    CHECK_FALSE(clock.is_past_fence());
    CHECK(clock.deadline() == 50);
    clock.set_fence(~u64{0});
    clock.skip_to(45);
    CHECK(clock.now() == 45);
    CHECK((guest == Clock::Guest::cycles ? clock.cycles : clock.instructions) ==
          (guest == Clock::Guest::cycles ? 45u : 30u));
    clock.skip_to(20);  // that time has passed
    CHECK(clock.now() == 45);
    CHECK(clock.deadline() == (guest == Clock::Guest::cycles ? 50u : 35u));  // 15 ticks went by without instructions
  }
}
