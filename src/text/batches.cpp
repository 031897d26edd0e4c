#include "text/batches.h"

#include <xxhash.h>
#include <cassert>
#include <cstdio>
#include <utility>

#include "base/check.h"
#include "base/fields.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/process.h"

namespace mote::text {
namespace {

constexpr std::int64_t kFormat = 1;
constexpr std::int64_t kMostIds16 = std::int64_t{1} << 16;  // vocabulary that two bytes can number
// Text encoded at once for each thread; the ids of about this much wait in memory for the file.
constexpr std::uint64_t kPartBytes = std::uint64_t{4} << 20;

// tokens.json. Whole numbers are signed so that a negative one in the file is seen as such.
struct Header {
  std::int64_t format = 0;  // 0: not in the file
  std::int64_t tokens = 0;
  std::int64_t bytes = 0;
  std::int64_t vocab_size = 0;
  std::int64_t width = 0;
  std::string corpus;
  std::string xxh64;

  static auto fields() {
    return std::tuple{
        Field{&Header::format, "format", "version of this format", 1},
        Field{&Header::tokens, "tokens", "ids in tokens.bin", 1},
        Field{&Header::bytes, "bytes", "bytes of text they stand for", 0},
        Field{&Header::vocab_size, "vocab_size", "ids are below this", 1, 0x7FFFFFFF},
        Field{&Header::width, "width", "bytes of one id", 2, 4},
        Field{&Header::corpus, "corpus", "what was encoded"},
        Field{&Header::xxh64, "xxh64", "hash of the documents' bytes, one after the other"}};
  }
};

std::int64_t width_for(std::int64_t vocab_size) {
  return vocab_size <= kMostIds16 ? 2 : 4;
}

// Little-endian on every machine.
void append_ids(std::string& bytes, const std::vector<TokenId>& ids, std::int64_t width) {
  for (const TokenId id : ids)
    for (std::int64_t i = 0; i < width; ++i)
      bytes += static_cast<char>(static_cast<std::uint32_t>(id) >> (8 * i));
}

class Hash {
 public:
  Hash() : state_(XXH64_createState()) {
    if (state_ == nullptr) throw std::bad_alloc();
    XXH64_reset(state_, 0);
  }
  ~Hash() { XXH64_freeState(state_); }
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;

  void add(std::string_view text) { XXH64_update(state_, text.data(), text.size()); }
  std::string hex() const {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx",
                  static_cast<unsigned long long>(XXH64_digest(state_)));
    return text;
  }

 private:
  XXH64_state_t* state_;
};

// A document, or a part of one that is encoded by itself.
struct Part {
  std::string_view text;
  bool first;  // of its document
};

// Encodes into `path`; sets what is known afterwards: tokens, bytes and hash.
void write_ids(const Corpus& corpus, const Tokenizer& tokenizer, const fs::path& path, int threads,
               Header& header) {
  const ThreadPool pool(threads);
  FileWriter writer(path);
  Hash hash;
  log::Progress progress("encoding", static_cast<std::int64_t>(corpus.bytes()), "bytes");
  std::vector<Part> round;
  std::uint64_t round_bytes = 0;
  const auto encode_round = [&] {
    std::vector<std::vector<TokenId>> ids(round.size());
    parallel_for(pool, static_cast<std::int64_t>(ids.size()), [&](std::int64_t i, int) {
      stop_if_interrupted();
      const Part& part = round[static_cast<std::size_t>(i)];
      std::vector<TokenId>& mine = ids[static_cast<std::size_t>(i)];
      if (part.first) mine.push_back(tokenizer.end_of_text());
      tokenizer.encode(part.text, mine);
    });
    for (std::size_t i = 0; i < ids.size(); ++i) {
      std::string bytes;
      append_ids(bytes, ids[i], header.width);
      writer.write(bytes);
      hash.add(round[i].text);
      header.tokens += static_cast<std::int64_t>(ids[i].size());
      header.bytes += static_cast<std::int64_t>(round[i].text.size());
    }
    progress.update(header.bytes);
    round.clear();
    round_bytes = 0;
  };
  for (const std::string_view document : corpus.documents()) {
    bool first = true;
    for (const std::string_view text : tokenizer.parts(document, kPartBytes)) {
      round.push_back({text, std::exchange(first, false)});
      round_bytes += text.size();
      if (round_bytes >= kPartBytes * static_cast<std::uint64_t>(pool.threads())) encode_round();
    }
  }
  encode_round();
  writer.commit();
  header.xxh64 = hash.hex();
}

Header read_header(const fs::path& path) {
  const Json json = read_json_object(path.string());
  const Place place{path.string(), ""};
  for (const char* key : {"format", "tokens", "bytes", "vocab_size", "width"})
    if (!json.contains(key))
      throw_config_error(place.inside(key), "is missing; prepare the text again");
  if (json["format"].is_number_integer() && json["format"] > kFormat)
    throw Error(ErrorKind::unsupported,
                concat(path.string(), ": format is ", json["format"].dump(),
                       " and this mote reads ", kFormat, "; use a newer mote"))
        .in(path.string())
        .at("format");
  return read_config<Header>(json, path.string());
}

}  // namespace

Prepared prepare(const Corpus& corpus, const Tokenizer& tokenizer, const std::string& corpus_name,
                 StagedFolder& out, int threads) {
  Header header;
  header.format = kFormat;
  header.vocab_size = tokenizer.vocab_size();
  header.width = width_for(header.vocab_size);
  header.corpus = corpus_name;
  write_ids(corpus, tokenizer, out.path() / kIdsFile, threads, header);
  tokenizer.save(out.path());
  write_file(out.path() / kHeaderFile, json_text(to_json(header), 1) + "\n");
  out.commit();
  return {static_cast<std::uint64_t>(header.tokens), static_cast<std::uint64_t>(header.bytes),
          tokenizer.vocab_size()};
}

bool is_prepared(const std::filesystem::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / kHeaderFile, ignored) &&
         fs::is_regular_file(folder / kIdsFile, ignored);
}

void link_prepared(const std::filesystem::path& folder, StagedFolder& out) {
  std::error_code ignored;
  for (const char* name : kPreparedFiles)
    if (fs::exists(folder / name, ignored)) link_or_copy_file(folder / name, out.path() / name);
  out.commit();
}

struct TokenFile::State {
  explicit State(const fs::path& path)
      : folder(path), header(read_header(folder / kHeaderFile)), file(folder / kIdsFile) {}
  const fs::path folder;
  const Header header;
  const MappedFile file;
  Prepared info;
};

TokenFile::TokenFile(const std::filesystem::path& folder)
    : state_(std::make_unique<State>(folder)) {
  const Header& header = state_->header;
  const std::string header_path = (folder / kHeaderFile).string();
  if (header.width != width_for(header.vocab_size))
    throw Error(ErrorKind::file, concat(header_path, ": width is ", header.width,
                                        " and a vocabulary of ", header.vocab_size, " has ",
                                        width_for(header.vocab_size), "; prepare the text again"))
        .in(header_path)
        .at("width");
  const std::size_t size = state_->file.bytes().size();
  const auto width = static_cast<std::size_t>(header.width);
  if (size % width != 0 || size / width != static_cast<std::uint64_t>(header.tokens)) {
    const std::string path = state_->file.path().string();
    throw Error(ErrorKind::file,
                concat(path, " has ", size, " bytes and ", kHeaderFile, " says ", header.tokens,
                       " tokens of ", header.width, " bytes; prepare the text again"))
        .in(path)
        .at("tokens");
  }
  state_->info = {static_cast<std::uint64_t>(header.tokens),
                  static_cast<std::uint64_t>(header.bytes), static_cast<int>(header.vocab_size)};
}

TokenFile::~TokenFile() = default;

std::uint64_t TokenFile::size() const {
  return state_->info.tokens;
}

const Prepared& TokenFile::info() const {
  return state_->info;
}

TokenId TokenFile::operator[](std::uint64_t i) const {
  assert(i < size());
  const auto width = static_cast<std::size_t>(state_->header.width);
  const std::byte* const bytes = state_->file.bytes().data() + i * width;
  std::uint32_t id = 0;
  for (std::size_t b = 0; b < width; ++b) id |= std::to_integer<std::uint32_t>(bytes[b]) << 8 * b;
  // Checked here rather than on opening, so that opening a large file reads none of it.
  if (id >= static_cast<std::uint32_t>(state_->info.vocab_size)) {
    const std::string path = state_->file.path().string();
    throw Error(ErrorKind::file, concat(path, ": token ", i, " is ", id, " in a vocabulary of ",
                                        state_->info.vocab_size, "; prepare the text again"))
        .in(path)
        .at(concat("token ", i));
  }
  return static_cast<TokenId>(id);
}

std::unique_ptr<Tokenizer> TokenFile::tokenizer() const {
  auto tokenizer = load_tokenizer(state_->folder);
  if (tokenizer->vocab_size() == state_->info.vocab_size) return tokenizer;
  const std::string path = tokenizer_file(state_->folder).string();
  throw Error(ErrorKind::file,
              concat(path, ": has ", tokenizer->vocab_size(), " tokens, ", kHeaderFile, " says ",
                     state_->info.vocab_size,
                     "; put the tokenizer back that made the tokens, or prepare the text again"))
      .in(path)
      .at("vocab_size");
}

void TokenFile::decode(const Tokenizer& tokenizer, std::uint64_t max_bytes,
                       FunctionRef<void(std::string_view bytes, bool starts_document)> add) const {
  Hash hash;
  std::uint64_t bytes = 0;
  for (std::uint64_t i = 0; i < size(); ++i) {
    if (i % 65'536 == 0) stop_if_interrupted();
    if (max_bytes > 0 && bytes >= max_bytes) return;
    const TokenId id = (*this)[i];
    const std::string_view text = tokenizer.bytes(id);
    hash.add(text);
    bytes += text.size();
    add(text, id == tokenizer.end_of_text());
  }
  if (hash.hex() == state_->header.xxh64 || !tokenizer.lossless()) return;
  const std::string folder = state_->folder.string();
  throw Error(ErrorKind::file,
              concat(folder, ": ", kIdsFile, " decoded by ", kTokenizerFile, " is text of xxh64 ",
                     hash.hex(), ", ", kHeaderFile, " says ", state_->header.xxh64,
                     "; one of the three is another text's: prepare the text again"))
      .in(folder)
      .at("xxh64");
}

TokenList::TokenList(const Corpus& corpus, const Tokenizer& tokenizer) {
  for (const std::string_view document : corpus.documents()) {
    ids_.push_back(tokenizer.end_of_text());
    for (const std::string_view part : tokenizer.parts(document, kPartBytes)) {
      stop_if_interrupted();
      tokenizer.encode(part, ids_);
    }
  }
}

BatchStream::BatchStream(std::shared_ptr<const TokenSequence> tokens, std::int64_t streams,
                         std::int64_t context)
    : tokens_(std::move(tokens)), streams_(streams), context_(context) {
  MOTE_CHECK(streams >= 1 && context >= 1,
             "batches need at least one stream and one token: ", streams, " streams of ", context,
             " tokens were asked for");
  const auto windows = (static_cast<std::int64_t>(tokens_->size()) - 1) / context;
  windows_per_stream_ = windows / streams;
  MOTE_CHECK(windows_per_stream_ >= 1, "the text has ", tokens_->size(), " tokens, ", windows,
             " windows of ", context, ", and ", streams,
             " streams need one each; use more text, fewer streams or a shorter context");
}

Batch BatchStream::at(std::int64_t step) const {
  MOTE_CHECK(step >= 0, "there is no batch ", step, "; steps count from 0");
  const std::int64_t window = step % windows_per_stream_;
  Batch batch;
  batch.starts_epoch = window == 0;
  const auto count = static_cast<std::size_t>(streams_ * context_);
  batch.ids.reserve(count);
  batch.targets.reserve(count);
  for (std::int64_t stream = 0; stream < streams_; ++stream) {
    const std::int64_t begin = (stream * windows_per_stream_ + window) * context_;
    for (std::int64_t t = begin; t < begin + context_; ++t) {
      batch.ids.push_back((*tokens_)[static_cast<std::uint64_t>(t)]);
      batch.targets.push_back((*tokens_)[static_cast<std::uint64_t>(t) + 1]);
    }
  }
  return batch;
}

}  // namespace mote::text
