// Rungs run side by side and each forks. A child that does not exec keeps every pipe that is open when it starts: were that
// the writing end of another rung's, nobody would see that one's child die. So pipes are made, given to a child and closed
// by one rung at a time.
#pragma once

#include <mutex>

namespace nestwalk::oracle {

inline std::mutex fork_lock;

}  // namespace nestwalk::oracle
