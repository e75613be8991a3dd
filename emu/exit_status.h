// Exit statuses of the program (docs/manual.md, "Exit statuses"): a contract with scripts.
#pragma once

namespace nestwalk::emu {

enum ExitStatus : int {
  kOk = 0,             ///< the guest powered off, or a limit that was asked for was reached
  kSomeFailed = 1,     ///< sweep: some points failed, the others are done; run: some of several virtual machines did
  kUsage = 2,          ///< bad usage, configuration, image or output folder: nothing ran
  kTripleFault = 3,    ///< the guest stopped the machine by a triple fault
  kReset = 4,          ///< the guest reset the machine and machine.on_reset is `stop`
  kHaltedForever = 5,  ///< the guest halted and nothing will ever wake it
  kCrashed = 6,        ///< the host has no machine memory left for the guest
  kInternal = 70,      ///< a mistake of ours (please report it)
  kSkipped = 77,       ///< scripts only: something needed is not to be had here
  kInterrupted = 130,  ///< Ctrl-A X, SIGINT or SIGTERM
};

}  // namespace nestwalk::emu
