#include "test/oracle/harness/unicorn_side.h"

namespace nestwalk::oracle {

std::unique_ptr<Side> make_unicorn(Mode, std::string& missing) {
  missing = "built without Unicorn (Debian package libunicorn-dev)";
  return nullptr;
}

}  // namespace nestwalk::oracle
