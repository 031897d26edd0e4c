#include "text/corpus.h"

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/check.h"
#include "base/file.h"
#include "base/nearest.h"
#include "text/gzip.h"
#include "text/program_output.h"

namespace mote::text {
namespace {

constexpr std::size_t kBlockBytes = 65'536;

class StoredCorpus final : public Corpus {
 public:
  const std::vector<std::string_view>& documents() const override { return documents_; }

  void add_document(std::string_view text) {
    if (!text.empty()) documents_.push_back(text);
  }
  // The view of `text`, kept from now on.
  std::string_view keep(std::string text) { return texts_.emplace_back(std::move(text)); }
  std::string_view keep_file(const fs::path& path) {
    const auto bytes = files_.emplace_back(path).bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void cut_to(std::uint64_t max_bytes);

 private:
  std::deque<std::string> texts_;  // deques, so that what the views see never moves
  std::deque<MappedFile> files_;
  std::vector<std::string_view> documents_;
};

void StoredCorpus::cut_to(std::uint64_t max_bytes) {
  std::uint64_t left = max_bytes;
  std::size_t kept = 0;
  for (; kept < documents_.size() && left > 0; ++kept) {
    documents_[kept] = documents_[kept].substr(0, left);
    left -= documents_[kept].size();
  }
  documents_.resize(kept);
}

// A corpus that has a name.
struct Source {
  const char* name;
  const char* description;
  const char* package;  // Debian's
  bool (*exists)();
  std::string (*read)();
};

fs::path gcide_path() {
  const fs::path folder = "/usr/share/dictd";
  const fs::path plain = folder / "gcide.dict";
  return fs::exists(plain) ? plain : folder / "gcide.dict.dz";
}

constexpr Source kSources[] = {
    {"gcide", "the GNU Collaborative International Dictionary of English, 40 MB", "dict-gcide",
     [] { return fs::exists(gcide_path()); }, [] { return read_gzip(gcide_path()); }},
    {"kjv", "the King James Bible, 4 MB", "bible-kjv", [] { return program_exists("bible"); },
     [] {
       return program_output({"bible", "-f", "Gen1:1-Rev22:21"});
     }},
};

enum class Split { train, valid, test };
const std::vector<std::string> kSplitNames = {"train", "valid", "test"};

Split split_of_block(std::size_t block) {
  return block % 20 == 18 ? Split::valid : block % 20 == 19 ? Split::test : Split::train;
}

std::string install_advice(const Source& source) {
  return concat("install it with: apt install ", source.package);
}

std::vector<std::string> source_names() {
  std::vector<std::string> names;
  for (const Source& source : kSources) names.push_back(source.name);
  return names;
}

Split parse_split(const std::string& corpus, const std::string& split) {
  const auto found = std::find(kSplitNames.begin(), kSplitNames.end(), split);
  MOTE_CHECK(found != kSplitNames.end(), "corpus ", corpus, " has no split '", split, "'",
             did_you_mean(split, kSplitNames), "; splits are train, valid, test");
  return static_cast<Split>(found - kSplitNames.begin());
}

// Blocks next to each other and of one split are one document.
void add_split(StoredCorpus& corpus, std::string_view text, Split split) {
  const std::size_t num_blocks = (text.size() + kBlockBytes - 1) / kBlockBytes;
  for (std::size_t begin = 0; begin < num_blocks;) {
    std::size_t end = begin + 1;
    while (end < num_blocks && split_of_block(end) == split_of_block(begin)) ++end;
    if (split_of_block(begin) == split)
      corpus.add_document(text.substr(begin * kBlockBytes, (end - begin) * kBlockBytes));
    begin = end;
  }
}

void add_source(StoredCorpus& corpus, const Source& source, std::optional<Split> split) {
  if (!source.exists())
    throw Error(ErrorKind::system, concat("corpus ", source.name, " (", source.description,
                                          ") is not on this machine; ", install_advice(source)));
  const std::string_view text = corpus.keep(source.read());
  if (split)
    add_split(corpus, text, *split);
  else
    corpus.add_document(text);
}

std::string json_text(std::string_view line, const fs::path& path, std::size_t number) {
  const auto fail = [&](const std::string& problem) -> Error {
    return Error(ErrorKind::file, concat(path.string(), ": line ", number, " ", problem,
                                         "; every line must be {\"text\": \"...\"}"))
        .in(path.string())
        .at("text");
  };
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(line);
  } catch (const nlohmann::json::exception& problem) {
    throw fail(concat("is not JSON (", problem.what(), ")"));
  }
  const auto found = json.is_object() ? json.find("text") : json.end();
  if (!json.is_object() || found == json.end()) throw fail("has no key 'text'");
  if (!found->is_string()) throw fail(concat("has a 'text' that is a ", found->type_name()));
  return found->get<std::string>();
}

void add_json_lines(StoredCorpus& corpus, std::string_view text, const fs::path& path) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") != std::string_view::npos)
      corpus.add_document(corpus.keep(json_text(line, path, number)));
  }
}

void add_file(StoredCorpus& corpus, const fs::path& path) {
  const std::string_view text = corpus.keep_file(path);
  if (path.extension() == ".jsonl")
    add_json_lines(corpus, text, path);
  else
    corpus.add_document(text);
}

// All plain files below `folder` by path; names with a dot in front are hidden and left out.
void add_folder(StoredCorpus& corpus, const fs::path& folder) {
  std::vector<fs::path> paths;
  try {
    for (fs::recursive_directory_iterator at(folder), end; at != end; ++at) {
      if (at->path().filename().string().starts_with("."))
        at.disable_recursion_pending();
      else if (at->is_regular_file())
        paths.push_back(at->path());
    }
  } catch (const fs::filesystem_error& problem) {
    throw Error(ErrorKind::system,
                concat("cannot read folder ", folder.string(), ": ", problem.code().message()))
        .in(folder.string());
  }
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) add_file(corpus, path);
}

[[noreturn]] void throw_not_found(const std::string& name) {
  const std::string head = name.substr(0, name.find(':'));
  throw Error(
      ErrorKind::system,
      concat("there is no file, folder or corpus '", name, "'", did_you_mean(head, source_names()),
             "; known corpora are gcide and kjv, each with :train, :valid and :test"))
      .in(name);
}

void add_named(StoredCorpus& corpus, const std::string& name) {
  const std::size_t colon = name.find(':');
  const std::string head = name.substr(0, colon);
  for (const Source& source : kSources) {
    if (head != source.name) continue;
    std::optional<Split> split;
    if (colon != std::string::npos) split = parse_split(head, name.substr(colon + 1));
    return add_source(corpus, source, split);
  }
  std::error_code ignored;
  if (fs::is_directory(name, ignored))
    add_folder(corpus, name);
  else if (fs::exists(name, ignored))
    add_file(corpus, name);
  else
    throw_not_found(name);
}

}  // namespace

std::uint64_t Corpus::bytes() const {
  std::uint64_t total = 0;
  for (const std::string_view document : documents()) total += document.size();
  return total;
}

std::unique_ptr<Corpus> open_corpus(const std::string& name) {
  return open_corpus(name, 0);
}

std::unique_ptr<Corpus> open_corpus(const std::string& name, std::uint64_t max_bytes) {
  auto corpus = std::make_unique<StoredCorpus>();
  add_named(*corpus, name);
  if (max_bytes > 0) corpus->cut_to(max_bytes);
  if (corpus->documents().empty())
    throw Error(ErrorKind::file, concat("corpus ", name, " is empty; choose one with text in it"))
        .in(name);
  return corpus;
}

std::vector<KnownCorpus> known_corpora() {
  std::vector<KnownCorpus> known;
  for (const Source& source : kSources)
    known.push_back({source.name, source.description,
                     source.exists() ? "" : "missing; " + install_advice(source)});
  return known;
}

}  // namespace mote::text
