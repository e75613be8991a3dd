// traces/FORMAT.md is enough to read a trace: this reader knows no header of traces/. It takes the offsets of every field
// from the page's own tables, reads the bytes of a trace by them, and replays what it read.
#include <zstd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>

#include "test/conformance/machine_bench.h"
#include "test/traces/reference.h"
#include "traces/recorder.h"  // to write a trace; nothing of it is used to read one
#include "traces/stream.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string decompress(const std::string& bytes) {
  std::string out(1 << 16, '\0'), all;
  ZSTD_DCtx* context = ZSTD_createDCtx();
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  std::size_t left = 1;
  while (in.pos < in.size) {
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    left = ZSTD_decompressStream(context, &to, &in);
    REQUIRE_FALSE(ZSTD_isError(left));
    all.append(out, 0, to.pos);
  }
  ZSTD_freeDCtx(context);
  CHECK(left == 0);
  return all;
}

u64 number(const std::string& bytes, std::size_t offset, std::size_t count) {
  u64 v = 0;
  for (std::size_t i = count; i-- > 0;) v = v << 8 | static_cast<u8>(bytes.at(offset + i));
  return v;
}

struct Field {
  std::size_t offset = 0, bytes = 0;
  u64 of(const std::string& trace, std::size_t record) const { return number(trace, record + offset, bytes); }
};

/// The rows `| offset | bytes | name |` under the heading "A record".
std::map<std::string, Field> record_table(const std::string& page) {
  std::map<std::string, Field> fields;
  const std::string section = page.substr(page.find("## A record"), page.find("### Type 1") - page.find("## A record"));
  std::istringstream lines(section);
  for (std::string line; std::getline(lines, line);) {
    unsigned long offset = 0, bytes = 0;
    char name[32];
    if (std::sscanf(line.c_str(), "| %lu | %lu | %31[a-z_0-9] |", &offset, &bytes, name) == 3)
      fields[name] = {offset, bytes};
  }
  return fields;
}

/// A run of the pager under the simple machine, and its trace.
struct Run {
  Scratch scratch;
  MachineBench bench;
  std::string trace, config;

  explicit Run(traces::Kind kind)
      : bench("[cpu]\nmodel = skylake\n", build_guest(scratch, "test/traces/pager.S", "--defsym ROUNDS=3000")) {
    const std::string path = (scratch.path / "trace").string();
    config = bench.settings().effective();
    traces::Writer writer(path, kind, config);
    traces::AccessRecorder recorder(writer, kind);
    recorder.paging(bench->port().paging());
    bench->port().set_observer(&recorder);
    bench.run_to_end();
    bench->port().set_observer(nullptr);
    writer.finish();
    trace = decompress(read_file(path));
  }
};

}  // namespace

TEST_CASE("the table of FORMAT.md covers a record without gap or overlap") {
  std::map<std::size_t, std::size_t> spans;
  for (const auto& [name, field] : record_table(read_file(NESTWALK_SOURCE "/traces/FORMAT.md")))
    spans[field.offset] = field.bytes;
  CHECK(spans.size() == 11);
  std::size_t at = 0;
  for (const auto& [offset, bytes] : spans) {
    CHECK(offset == at);
    at = offset + bytes;
  }
  CHECK(at == 32);
}

TEST_CASE("a reader written from FORMAT.md alone replays a run exactly") {
  auto fields = record_table(read_file(NESTWALK_SOURCE "/traces/FORMAT.md"));
  for (const bool walks : {false, true}) {
    Run run(walks ? traces::Kind::walks : traces::Kind::accesses);
    const std::string& t = run.trace;
    CHECK(t.substr(0, 8) == "NWTRACE1");
    CHECK(number(t, 8, 4) == (walks ? 2 : 1));
    const u64 c = number(t, 12, 4);
    CHECK(t.substr(16, c) == run.config);
    REQUIRE((t.size() - 16 - c) % 32 == 0);

    const std::vector<reference::Tlb> tlbs = {{"l1i", 1, {true, false, false}, {{{12, 21, 22, 30}, 8, 4}}},
                                              {"l1d", 1, {false, true, true}, {{{12, 21, 22, 30}, 8, 4}}}};
    reference::Replay replay(walks ? std::vector<reference::Tlb>{} : tlbs);
    for (std::size_t at = 16 + c; at < t.size(); at += 32) {
      const auto get = [&](const char* name) { return fields.at(name).of(t, at); };
      const auto small = [&](const char* name) { return static_cast<unsigned>(get(name)); };
      replay.feed({small("type"), small("side"), small("flags"), small("size"), small("level"), small("rights"), small("n"),
                   get("a"), get("b"), get("c"), get("d")});
    }
    CHECK(replay.disagreements == std::vector<u64>{});
    const auto counts = replay.counts();
    std::vector<std::string> names = {"walk.count", "walk.cycles", "walk.faults", "walk.page_size.2M",
                                      "walk.by.user.store.cycles"};
    if (walks)
      names.insert(names.end(),
                   {"walk.reads", "walk.reads_by_position.g4h0", "walk.served_by.g1h0.flat", "cycles.walk_read"});
    else
      names.insert(names.end(), {"tlb.l1d.misses.user", "tlb.l1d.load_misses", "tlb.l1i.fills.4K", "tlb.l1d.evictions",
                                 "tlb.l1d.flushes", "tlb.rewalks.dirty", "tlb.rewalks.permission", "tlb.fault_flushes"});
    for (const std::string& name : names) {
      INFO(name);
      REQUIRE(counts.count(name) == 1);
      CHECK(counts.at(name) == run.bench.value(name));
    }
  }
}

TEST_CASE("a fault record carries its kind and error code, a walk its cycles, a change of EFLAGS.AC a paging record") {
  Run run(traces::Kind::accesses);
  auto fields = record_table(read_file(NESTWALK_SOURCE "/traces/FORMAT.md"));
  std::map<u64, u64> errors;
  u64 with_ac = 0;
  for (std::size_t at = 16 + number(run.trace, 12, 4); at < run.trace.size(); at += 32) {
    const auto get = [&](const char* name) { return fields.at(name).of(run.trace, at); };
    if (get("type") == 3) with_ac += get("n");
    if (get("type") != 1) continue;
    const bool fault = get("flags") & 4, walked = get("flags") & 16;
    CHECK((get("d") != 0) == walked);
    CHECK(get("c") >= get("d"));
    if (!fault) continue;
    CHECK(get("size") == 1);
    CHECK((get("b") & 4) == (get("flags") & 1 ? 4 : 0));  // U/S
    ++errors[get("b")];
  }
  CHECK(errors[0] > 5);  // a read of what is not present
  CHECK(errors[2] > 5);  // a write
  CHECK(errors[3] > 5);  // a write where reading is allowed
  CHECK(errors[6] > 5);  // a write in user mode
  CHECK(with_ac > 100);
}
