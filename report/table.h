// Text tables with aligned columns, for summaries and for the terminal.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"

namespace nestwalk::report {

class Table {
 public:
  enum class Align : u8 { left, right };
  struct Column {
    std::string title;
    Align align = Align::right;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// Cells that are missing are empty; throws std::logic_error for more cells than columns.
  void row(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  /// The table, each line indented by `indent` spaces and ended by a newline; no trailing blanks. A line of titles comes
  /// first unless all titles are empty.
  std::string text(unsigned indent = 0) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// 1234567 as "1,234,567".
std::string grouped(u64 n);
/// part / whole as "12.3 %" with `digits` decimals; "-" when the whole is 0.
std::string percent(u64 part, u64 whole, unsigned digits = 1);
/// n / d with `digits` decimals; "-" when d is 0.
std::string quotient(double n, double d, unsigned digits = 2);

}  // namespace nestwalk::report
