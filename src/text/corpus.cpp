#include "text/corpus.h"

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/counted.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/process.h"
#include "text/batches.h"
#include "text/gzip.h"
#include "text/program_output.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

constexpr std::size_t kBlockBytes = 65'536;

enum class Split { train, valid, test };
const std::vector<std::string> kSplitNames = {"train", "valid", "test"};

Split split_of_block(std::size_t block) {
  return block % 20 == 18 ? Split::valid : block % 20 == 19 ? Split::test : Split::train;
}

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
  // The last document is cut short; of pairs, those that fit stay, the first at any rate.
  void cut_to(std::uint64_t max_bytes, bool pairs);
  void keep_split(Split split);

  bool has_json_lines = false;

 private:
  std::deque<std::string> texts_;  // deques, so that what the views see never moves
  std::deque<MappedFile> files_;
  std::vector<std::string_view> documents_;
};

void StoredCorpus::cut_to(std::uint64_t max_bytes, bool pairs) {
  std::uint64_t left = max_bytes;
  std::size_t kept = 0;
  if (pairs) {
    for (; kept + 1 < documents_.size(); kept += 2) {
      const std::uint64_t size = documents_[kept].size() + documents_[kept + 1].size();
      if (kept > 0 && size > left) break;
      left -= std::min(left, size);
    }
    return documents_.resize(kept);
  }
  for (; kept < documents_.size() && left > 0; ++kept) {
    documents_[kept] = documents_[kept].substr(0, left);
    left -= documents_[kept].size();
  }
  documents_.resize(kept);
}

// Blocks are counted over all documents; those next to each other in one stay together.
void StoredCorpus::keep_split(Split split) {
  std::vector<std::string_view> kept;
  std::size_t before = 0;
  for (const std::string_view text : documents_) {
    for (std::size_t at = 0; at < text.size();) {
      std::size_t block = (before + at) / kBlockBytes;
      const Split here = split_of_block(block);
      while (split_of_block(block) == here && block * kBlockBytes < before + text.size()) ++block;
      const std::size_t end = std::min(block * kBlockBytes - before, text.size());
      if (here == split) kept.push_back(text.substr(at, end - at));
      at = end;
    }
    before += text.size();
  }
  documents_ = std::move(kept);
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

void add_source(StoredCorpus& corpus, const Source& source) {
  if (!source.exists())
    throw Error(ErrorKind::system, concat("corpus ", source.name, " (", source.description,
                                          ") is not on this machine; ", install_advice(source)));
  corpus.add_document(corpus.keep(source.read()));
}

std::string json_text(std::string_view line, const fs::path& path, std::size_t number,
                      const std::string& key) {
  const auto fail = [&](const std::string& problem) -> Error {
    return Error(ErrorKind::file, concat(path.string(), ": line ", number, " ", problem,
                                         "; every line must be {\"", key, "\": \"...\"}"))
        .in(path.string())
        .at(key);
  };
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(line);
  } catch (const nlohmann::json::exception& problem) {
    throw fail(json_problem(problem));
  }
  const auto found = json.is_object() ? json.find(key) : json.end();
  if (!json.is_object() || found == json.end())
    throw fail(concat("has no key '", key, "' (data.text_key of a recipe names another)"));
  if (!found->is_string()) throw fail(concat("has a '", key, "' that is a ", found->type_name()));
  return found->get<std::string>();
}

void add_json_lines(StoredCorpus& corpus, std::string_view text, const fs::path& path,
                    const TextFormat& format) {
  corpus.has_json_lines = true;
  for (std::size_t number = 1; !text.empty(); ++number) {
    stop_if_interrupted();
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string_view first = corpus.keep(json_text(line, path, number, format.json_key));
    if (format.target_key.empty()) {
      corpus.add_document(first);
      continue;
    }
    const std::string_view second = corpus.keep(json_text(line, path, number, format.target_key));
    if (first.empty() || second.empty())
      throw Error(ErrorKind::file, concat(path.string(), ": line ", number, " has an empty '",
                                          first.empty() ? format.json_key : format.target_key,
                                          "'; a pair needs both texts"))
          .in(path.string())
          .at(first.empty() ? format.json_key : format.target_key);
    corpus.add_document(first);
    corpus.add_document(second);
  }
}

[[noreturn]] void refuse_as_text(const fs::path& path, const std::string& what) {
  throw Error(ErrorKind::file, concat(path.string(), ": ", what,
                                      " or take its bytes as they are with --binary "
                                      "(data.binary in a recipe)"))
      .in(path.string());
}

// Text has no zero bytes, and of other control characters few, from the beginning up to any block.
void check_is_text(std::string_view text, const fs::path& path) {
  std::size_t control = 0;
  for (std::size_t at = 0; at < text.size(); at += kBlockBytes) {
    stop_if_interrupted();
    const std::string_view block = text.substr(at, kBlockBytes);
    const std::size_t zero = block.find('\0');
    control += static_cast<std::size_t>(std::count_if(block.begin(), block.end(), [](char c) {
      const bool usual = (c >= '\a' && c <= '\r') || c == '\x1b';
      return static_cast<unsigned char>(c) < ' ' && !usual;
    }));
    std::string found;
    if (zero != std::string_view::npos)
      found = concat("byte ", at + zero, " is zero");
    else if (control > (at + block.size()) / 20)
      found = concat(control, " of its first ", at + block.size(), " bytes are control characters");
    if (!found.empty())
      refuse_as_text(path, concat("is not text: ", found,
                                  "; give a file of text, JSON lines or gzip of either,"));
  }
}

// What a name ends in, in small letters and without the dot; the part before is left in `name`.
std::string take_extension(fs::path& name) {
  std::string extension = name.extension().string();
  name = name.stem();
  for (char& c : extension)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return extension.empty() ? "" : extension.substr(1);
}

// The first `max_bytes` bytes are looked at, or all.
void add_file(StoredCorpus& corpus, const fs::path& path, std::uint64_t max_bytes,
              const TextFormat& format) {
  std::string_view text = corpus.keep_file(path);
  if (is_gzip(std::as_bytes(std::span(text)))) text = corpus.keep(read_gzip(path));
  fs::path name = path.filename();
  std::string kind = take_extension(name);
  if (kind == "gz") kind = take_extension(name);
  if (kind == "jsonl" || kind == "ndjson") return add_json_lines(corpus, text, path, format);
  if (!format.target_key.empty())
    throw Error(ErrorKind::file,
                concat(path.string(),
                       ": pairs are read from JSON lines; give a "
                       ".jsonl file with a line {\"",
                       format.json_key, "\": ..., \"", format.target_key, "\": ...} for each"))
        .in(path.string());
  if (!format.binary && kind == "json")
    refuse_as_text(path,
                   "is one JSON value by its name; give a .jsonl file with a line {\"text\": ...} "
                   "for each document,");
  if (!format.binary) check_is_text(max_bytes ? text.substr(0, max_bytes) : text, path);
  corpus.add_document(text);
}

// The documents of prepared tokens, decoded up to about `max_bytes`.
void add_prepared(StoredCorpus& corpus, const fs::path& folder, std::uint64_t max_bytes) {
  const TokenFile tokens(folder);
  std::string text;
  const auto end_document = [&] {
    corpus.add_document(corpus.keep(std::move(text)));
    text.clear();
  };
  tokens.decode(*tokens.tokenizer(), max_bytes, [&](std::string_view bytes, bool starts_document) {
    if (starts_document) end_document();
    text += bytes;
  });
  end_document();
}

bool is_model_folder(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::exists(folder / "config.json", ignored)) return false;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (entry.path().filename().string().find(".safetensors") != std::string::npos) return true;
  return false;
}

// All plain files below `folder` by path; names with a dot in front are hidden and left out.
void add_folder(StoredCorpus& corpus, const fs::path& folder, std::uint64_t max_bytes,
                const TextFormat& format) {
  if (!format.binary && is_model_folder(folder))
    refuse_as_text(folder, "is a model's folder; give the text that it is to read,");
  std::vector<fs::path> paths;
  try {
    for (fs::recursive_directory_iterator at(folder), end; at != end; ++at) {
      stop_if_interrupted();
      if (at->path().filename().string().starts_with("."))
        at.disable_recursion_pending();
      else if (at->is_regular_file())
        paths.push_back(at->path());
      else if (at->is_symlink() || !at->is_directory())
        log::warn(concat(at->path().string(),
                         ": is left out; of a folder, only files and links to "
                         "files are read"));
    }
  } catch (const fs::filesystem_error& problem) {
    throw Error(ErrorKind::system,
                concat("cannot read folder ", folder.string(), ": ", problem.code().message()))
        .in(folder.string());
  }
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) add_file(corpus, path, max_bytes, format);
}

[[noreturn]] void throw_not_found(const std::string& name) {
  const std::string head = name.substr(0, name.find(':'));
  std::error_code ignored;
  const std::string from =
      fs::path(name).is_relative() ? concat(" seen from ", fs::current_path(ignored).string()) : "";
  throw Error(ErrorKind::system,
              concat("there is no file, folder or corpus '", name, "'", from,
                     did_you_mean(head, source_names()),
                     "; known corpora are gcide and kjv, each with :train, :valid and :test"))
      .in(name);
}

bool is_source(const std::string& name) {
  const std::vector<std::string> sources = source_names();
  return std::find(sources.begin(), sources.end(), name) != sources.end();
}

bool is_there(const std::string& name) {
  std::error_code ignored;
  return is_source(name) || fs::exists(name, ignored);
}

void add_named(StoredCorpus& corpus, const std::string& name, std::uint64_t max_bytes,
               const TextFormat& format) {
  for (const Source& source : kSources)
    if (name == source.name) return add_source(corpus, source);
  std::error_code ignored;
  if (is_prepared(name))
    add_prepared(corpus, name, max_bytes);
  else if (fs::is_directory(name, ignored))
    add_folder(corpus, name, max_bytes, format);
  else
    add_file(corpus, name, max_bytes, format);
}

// Absolute, and short where that leads to the same place (a link may stand before "..").
std::string absolute_path(const fs::path& path) {
  std::error_code ignored;
  const fs::path whole = fs::absolute(path), shorter = whole.lexically_normal();
  return (fs::equivalent(whole, shorter, ignored) ? shorter : whole).string();
}

}  // namespace

std::string named_from_anywhere(const std::string& name) {
  for (const std::size_t end : {std::string::npos, name.rfind(':')}) {
    const std::string head = name.substr(0, end);
    std::error_code ignored;
    if (is_source(head)) return name;
    if (!fs::exists(head, ignored)) continue;
    const std::string whole = absolute_path(head) + name.substr(head.size());
    return valid_utf8_prefix(whole) == whole.size() ? whole : name;
  }
  return name;
}

std::uint64_t Corpus::bytes() const {
  std::uint64_t total = 0;
  for (const std::string_view document : documents()) total += document.size();
  return total;
}

std::unique_ptr<Corpus> open_corpus(const std::string& name, std::uint64_t max_bytes,
                                    const TextFormat& format) {
  auto corpus = std::make_unique<StoredCorpus>();
  std::string blocks;
  const bool pairs = !format.target_key.empty();
  if (pairs && is_source(name.substr(0, name.find(':'))))
    throw Error(ErrorKind::file, concat(name, ": is running text; pairs are read from JSON lines"))
        .in(name);
  if (is_there(name)) {
    add_named(*corpus, name, max_bytes, format);
  } else {
    const std::size_t colon = name.rfind(':');
    const std::string head = name.substr(0, colon);
    if (colon == std::string::npos || !is_there(head)) throw_not_found(name);
    const Split split = parse_split(head, name.substr(colon + 1));
    if (pairs)
      throw Error(ErrorKind::usage, concat(name,
                                           ": a split cuts between bytes, which would part "
                                           "sources from their targets; give a file for each "
                                           "split"))
          .in(name);
    add_named(*corpus, head, 0, format);
    blocks = concat(" (its text has ", counted(corpus->bytes(), "byte"), "; of every 20 blocks of ",
                    kBlockBytes, " valid is the 19th, test the 20th)");
    corpus->keep_split(split);
  }
  if (format.json_key != TextFormat{}.json_key && !corpus->has_json_lines)
    log::warn(concat(name, ": has no JSON lines, so that no text is under the key '",
                     format.json_key, "' that was named"));
  if (max_bytes > 0) corpus->cut_to(max_bytes, pairs);
  if (corpus->documents().empty())
    throw Error(ErrorKind::file,
                concat("corpus ", name, " is empty", blocks, "; choose one with text in it"))
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
