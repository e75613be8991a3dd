// The screen dump: whole or not at all, and refused before the run when it cannot be written.
#include "emu/screen_file.h"

#include <filesystem>

#include "sim/settings.h"
#include "test/catch.h"
#include "test/scratch.h"

using namespace nestwalk;
namespace fs = std::filesystem;

namespace {
std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}
}  // namespace

TEST_CASE("the screen file replaces the one that was there, and leaves nothing beside it") {
  const Scratch scratch;
  const std::string path = scratch.file("screen.txt", "of the run before\n");
  const emu::ScreenFile screen(path);
  CHECK(scratch.read("screen.txt") == "of the run before\n");  // until this run has ended
  CHECK(files_in(scratch.path) == 1);
  screen.write("line\n");
  CHECK(scratch.read("screen.txt") == "line\n");
  CHECK(files_in(scratch.path) == 1);
}

TEST_CASE("a place where no file can be is refused before the run") {
  const Scratch scratch;
  fs::create_directory(scratch.path / "folder");
  for (const std::string& path : {scratch.path.string(), (scratch.path / "folder/").string(),
                                  (scratch.path / "missing/screen.txt").string(), std::string()})
    CHECK_THROWS_AS(emu::ScreenFile(path), sim::ConfigError);
  CHECK(files_in(scratch.path) == 1);
}
