// SQLite through its C interface (sqlite.org/c3ref), with statements and transactions that clean up after themselves.
#include "report/sqlite_store.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <map>
#include <nlohmann/json.hpp>

namespace nestwalk::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kApplication = 0x4e737477;  // "Nstw" in the file's header
constexpr int kSchema = 1;
constexpr int kPatience = 10'000;  // ms to wait for another process that writes
constexpr u64 kLargestInteger = ~u64{0} >> 1;

constexpr const char* kCreate = R"(
  CREATE TABLE keys(position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
  CREATE TABLE points(id INTEGER PRIMARY KEY, key_values TEXT NOT NULL, status TEXT NOT NULL, digest TEXT NOT NULL);
  CREATE TABLE metrics(point INTEGER NOT NULL REFERENCES points(id) ON DELETE CASCADE, name TEXT NOT NULL, value,
                       PRIMARY KEY(point, name)) WITHOUT ROWID;)";

std::string text_of(const Point& point) {
  Json object = Json::object();
  for (const auto& [key, value] : point.key_values) object[key] = value;
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

struct ResultStore::Impl {
  explicit Impl(const std::string& p) : path(p) {
    if (sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXRESCODE, nullptr) !=
        SQLITE_OK) {
      const std::string why = db ? sqlite3_errmsg(db) : "out of memory";
      sqlite3_close(db);
      throw StoreError(fmt::format("{}: cannot open the results database: {}", path, why));
    }
    sqlite3_busy_timeout(db, kPatience);
  }
  ~Impl() { sqlite3_close(db); }

  [[noreturn]] void fail(const std::string& what) const {
    throw StoreError(fmt::format("{}: {}: {}", path, what, sqlite3_errmsg(db)));
  }
  void run(const char* sql) const {
    if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail("results database");
  }

  std::string path;
  sqlite3* db = nullptr;
};

namespace {

/// A prepared statement; `next` steps through its rows.
class Statement {
 public:
  template <class Store>
  Statement(const Store& store, const char* sql) : db_(store.db), path_(store.path) {
    if (sqlite3_prepare_v2(db_, sql, -1, &statement_, nullptr) != SQLITE_OK) fail();
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(const std::string& text) {
    return check(sqlite3_bind_text(statement_, ++bound_, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT));
  }
  Statement& bind(u64 n) {
    if (n > kLargestInteger) return bind(static_cast<double>(n));
    return check(sqlite3_bind_int64(statement_, ++bound_, static_cast<sqlite3_int64>(n)));
  }
  Statement& bind(double x) { return check(sqlite3_bind_double(statement_, ++bound_, x)); }
  Statement& bind(const std::variant<u64, double>& value) {
    return std::visit([this](auto v) -> Statement& { return bind(v); }, value);
  }

  bool next() {
    const int code = sqlite3_step(statement_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) fail();
    return code == SQLITE_ROW;
  }
  /// Runs a statement without rows and makes it ready for new values.
  void run() {
    next();
    sqlite3_reset(statement_);
    bound_ = 0;
  }

  u64 integer(int column) const { return static_cast<u64>(sqlite3_column_int64(statement_, column)); }
  std::string text(int column) const {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return bytes ? std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))) : "";
  }
  std::variant<u64, double> number(int column) const {
    if (sqlite3_column_type(statement_, column) == SQLITE_INTEGER) return integer(column);
    return sqlite3_column_double(statement_, column);
  }

 private:
  Statement& check(int code) {
    if (code != SQLITE_OK) fail();
    return *this;
  }
  [[noreturn]] void fail() const { throw StoreError(fmt::format("{}: results database: {}", path_, sqlite3_errmsg(db_))); }

  sqlite3* db_;
  std::string path_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

/// Rolls back unless committed.
class Transaction {
 public:
  explicit Transaction(sqlite3* db) : db_(db) { sqlite3_exec(db_, "BEGIN IMMEDIATE", nullptr, nullptr, &error_); }
  ~Transaction() {
    if (open_) sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    sqlite3_free(error_);
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  bool began() const { return error_ == nullptr; }
  bool commit() {
    if (sqlite3_exec(db_, "COMMIT", nullptr, nullptr, nullptr) != SQLITE_OK) return false;
    open_ = false;
    return true;
  }

 private:
  sqlite3* db_;
  char* error_ = nullptr;
  bool open_ = true;
};

/// Runs `what` in a transaction; an exception from it rolls everything back.
template <class Store, class F>
void atomically(const Store& store, F what) {
  Transaction transaction(store.db);
  if (!transaction.began()) store.fail("results database");
  what();
  if (!transaction.commit()) store.fail("results database: cannot commit");
}

template <class Store>
u64 pragma(const Store& store, const char* sql) {
  Statement query(store, sql);
  return query.next() ? query.integer(0) : 0;
}

}  // namespace

ResultStore::ResultStore(const std::string& path) : impl_(std::make_unique<Impl>(path)) {
  const auto application = [this] { return pragma(*impl_, "PRAGMA application_id"); };
  const auto is_new = [&] { return application() == 0 && pragma(*impl_, "SELECT count(*) FROM sqlite_master") == 0; };
  if (!is_new() && application() != kApplication)
    throw StoreError(fmt::format("{}: is a database of another program, not results of a sweep", path));
  impl_->run("PRAGMA foreign_keys = ON; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
  atomically(*impl_, [&] {
    if (!is_new()) return;  // asked again: another process may have been faster
    impl_->run(kCreate);
    impl_->run(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {};", kApplication, kSchema).c_str());
  });
  if (const u64 schema = pragma(*impl_, "PRAGMA user_version"); schema != kSchema)
    throw StoreError(fmt::format("{}: results of another version of Nestwalk (layout {}, not {})", path, schema, kSchema));
}

ResultStore::~ResultStore() = default;

void ResultStore::set_keys(const std::vector<std::string>& names) {
  atomically(*impl_, [&] {
    const std::vector<std::string> stored = keys();
    if (stored == names) return;
    if (pragma(*impl_, "SELECT count(*) FROM points"))
      throw StoreError(fmt::format("{}: holds results of a sweep over other keys ({}); choose another output folder",
                                   impl_->path, fmt::join(stored, ", ")));
    impl_->run("DELETE FROM keys");
    Statement insert(*impl_, "INSERT INTO keys(position, name) VALUES(?, ?)");
    for (std::size_t i = 0; i < names.size(); ++i) insert.bind(u64{i}).bind(names[i]).run();
  });
}

std::vector<std::string> ResultStore::keys() const {
  std::vector<std::string> names;
  for (Statement query(*impl_, "SELECT name FROM keys ORDER BY position"); query.next();) names.push_back(query.text(0));
  return names;
}

void ResultStore::add(const Point& point, const std::vector<Metric>& values) {
  atomically(*impl_, [&] {
    Statement(*impl_, "DELETE FROM points WHERE id = ?").bind(point.id).run();
    Statement(*impl_, "INSERT INTO points(id, key_values, status, digest) VALUES(?, ?, ?, ?)")
        .bind(point.id)
        .bind(text_of(point))
        .bind(point.status)
        .bind(point.digest)
        .run();
    Statement insert(*impl_, "INSERT INTO metrics(point, name, value) VALUES(?, ?, ?)");
    for (const Metric& metric : values) insert.bind(point.id).bind(metric.name).bind(metric.value).run();
  });
}

void ResultStore::remove(u64 point) { Statement(*impl_, "DELETE FROM points WHERE id = ?").bind(point).run(); }

void ResultStore::clear() {
  atomically(*impl_, [this] { impl_->run("DELETE FROM points; DELETE FROM keys;"); });
}

std::vector<Point> ResultStore::points() const {
  std::vector<Point> all;
  for (Statement query(*impl_, "SELECT id, key_values, status, digest FROM points ORDER BY id"); query.next();) {
    Point point{query.integer(0), {}, query.text(2), query.text(3)};
    const Json object = Json::parse(query.text(1), nullptr, false);
    if (!object.is_object())
      throw StoreError(fmt::format("{}: point {}: its key values are damaged", impl_->path, point.id));
    for (const auto& [key, value] : object.items())
      point.key_values.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
    all.push_back(std::move(point));
  }
  return all;
}

bool ResultStore::finished(const Point& point) const {
  Statement query(*impl_, "SELECT count(*) FROM points WHERE id = ? AND key_values = ? AND digest = ? AND status = ?");
  query.bind(point.id).bind(text_of(point)).bind(point.digest).bind(std::string(kDone));
  return query.next() && query.integer(0) == 1;
}

std::vector<Metric> ResultStore::metrics(u64 point) const {
  std::vector<Metric> all;
  Statement query(*impl_, "SELECT name, value FROM metrics WHERE point = ? ORDER BY name");
  for (query.bind(point); query.next();) all.push_back({query.text(0), query.number(1)});
  return all;
}

std::optional<Metric> ResultStore::metric(u64 point, const std::string& name) const {
  Statement query(*impl_, "SELECT value FROM metrics WHERE point = ? AND name = ?");
  if (!query.bind(point).bind(name).next()) return std::nullopt;
  return Metric{name, query.number(0)};
}

std::string ResultStore::csv(const std::vector<std::string>& names) const {
  std::vector<std::string> columns = names;
  if (columns.empty())
    for (Statement query(*impl_, "SELECT DISTINCT name FROM metrics ORDER BY name"); query.next();)
      columns.push_back(query.text(0));

  const std::vector<std::string> swept = keys();
  std::string out;
  const auto line = [&](const std::vector<std::string>& fields) {
    for (std::size_t i = 0; i < fields.size(); ++i) out += (i ? "," : "") + csv_field(fields[i]);
    out += '\n';
  };
  std::vector<std::string> fields{"point"};
  fields.insert(fields.end(), swept.begin(), swept.end());
  fields.push_back("status");
  fields.insert(fields.end(), columns.begin(), columns.end());
  line(fields);
  for (const Point& point : points()) {
    std::map<std::string, std::string> given(point.key_values.begin(), point.key_values.end()), values;
    for (const Metric& m : metrics(point.id)) values[m.name] = to_text(m);
    fields = {fmt::to_string(point.id)};
    for (const std::string& key : swept) fields.push_back(given[key]);
    fields.push_back(point.status);
    for (const std::string& name : columns) fields.push_back(values[name]);
    line(fields);
  }
  return out;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string to_text(const Metric& metric) {
  return std::visit([](auto v) { return fmt::format("{}", v); }, metric.value);
}

}  // namespace nestwalk::report
