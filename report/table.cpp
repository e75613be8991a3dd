// Column widths, and numbers as people read them.
#include "report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace nestwalk::report {

void Table::row(std::vector<std::string> cells) {
  if (cells.size() > columns_.size()) throw std::logic_error("a table row with more cells than columns");
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text(unsigned indent) const {
  std::vector<std::string> titles;
  for (const Column& c : columns_) titles.push_back(c.title);
  const bool titled = std::any_of(titles.begin(), titles.end(), [](const auto& t) { return !t.empty(); });

  std::vector<std::size_t> width;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    width.push_back(titles[c].size());
    for (const auto& row : rows_) width[c] = std::max(width[c], row[c].size());
  }
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text(indent, ' ');
    for (std::size_t c = 0; c < cells.size(); ++c) {
      if (c) text += "  ";
      text += columns_[c].align == Align::left ? fmt::format("{:<{}}", cells[c], width[c])
                                               : fmt::format("{:>{}}", cells[c], width[c]);
    }
    text.resize(text.find_last_not_of(' ') + 1);
    out += text + '\n';
  };
  if (titled) line(titles);
  for (const auto& row : rows_) line(row);
  return out;
}

std::string grouped(u64 n) {
  std::string digits = fmt::to_string(n);
  for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

std::string percent(u64 part, u64 whole, unsigned digits) {
  return whole ? fmt::format("{:.{}f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole), digits) : "-";
}

std::string quotient(double n, double d, unsigned digits) { return d != 0 ? fmt::format("{:.{}f}", n / d, digits) : "-"; }

}  // namespace nestwalk::report
