// What `nestwalk run` reads besides a machine, and how a run's end is called: shared with what plans runs without running
// them (emu/sweep).
#pragma once

#include "base/types.h"
#include "cpu/cpu.h"
#include "sim/settings.h"

namespace nestwalk::emu {

/// Counts of a run that the command line may ask for, as keys too, so that a sweep can set them.
struct RunParams {
  u64 max_instructions = 0, roi_start = 0, roi_stop = 0;

  void declare(sim::Section run) {
    run.field("max_instructions", max_instructions, {}, "stop after so many retired instructions; 0: no limit");
    run.field("roi_start", roi_start, {},
              "the region of interest begins after so many retired instructions; 0: by the guest only");
    run.field("roi_stop", roi_stop, {},
              "the region of interest ends after so many retired instructions; 0: at the end of the run");
  }
};

/// The fact of a report's head that says how the run ended, and its value.
inline constexpr const char* kEndedFact = "ended";
constexpr const char* ended_by(cpu::Stop why) {
  using cpu::Stop;
  switch (why) {
    case Stop::power_off: return "the guest powered off";
    case Stop::reset: return "the guest reset the machine";
    case Stop::triple_fault: return "the guest stopped the machine by a triple fault";
    case Stop::debug_exit: return "the guest wrote to the debug-exit port";
    case Stop::limit: return "the instruction limit was reached";
    case Stop::halted_forever: return "the guest halted and nothing will wake it";
    case Stop::user_quit: return "interrupted by the user";
    case Stop::crashed: return "the host has no memory left for the guest";
    case Stop::asleep:
    case Stop::preempted:
    case Stop::turn_over:
    case Stop::none: break;
  }
  return "running";
}

}  // namespace nestwalk::emu
