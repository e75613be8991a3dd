#include "report/table.h"

#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::report;

TEST_CASE("columns are as wide as their widest cell, and lines end without blanks") {
  Table table({{"name", Table::Align::left}, {"count"}, {"note", Table::Align::left}});
  table.row({"a", "1,234,567", ""});
  table.row({"longer", "5"});
  table.row({"", "", "x"});
  CHECK(table.text(2) ==
        "  name        count  note\n"
        "  a       1,234,567\n"
        "  longer          5\n"
        "                     x\n");
}

TEST_CASE("a table without titles has no line of titles") {
  Table table({{""}, {""}});
  CHECK(table.empty());
  CHECK(table.text().empty());
  table.row({"a", "b"});
  CHECK(table.text() == "a  b\n");
  CHECK_THROWS_AS(table.row({"a", "b", "c"}), std::logic_error);
}

TEST_CASE("numbers are grouped, shares have one decimal and nothing is divided by zero") {
  CHECK(grouped(0) == "0");
  CHECK(grouped(999) == "999");
  CHECK(grouped(1000) == "1,000");
  CHECK(grouped(~u64{0}) == "18,446,744,073,709,551,615");
  CHECK(percent(1, 8) == "12.5 %");
  CHECK(percent(1, 0) == "-");
  CHECK(quotient(1, 3) == "0.33");
  CHECK(quotient(1, 0) == "-");
}
