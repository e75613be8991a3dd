// libFuzzer's entry, for long runs by hand:
//   clang++ -std=gnu++20 -g -O1 -fsanitize=fuzzer,address,undefined -I. test/fuzz/settings_fuzz.cpp
//   sim/{settings,ini,registry}.cpp -lfmt -lboost_program_options
// settings_fuzz_test.cpp runs the same promises for some seconds under every compiler.
#include "test/fuzz/settings_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  nestwalk::fuzz::survives(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
