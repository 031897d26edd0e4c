// Where text comes from: corpora known by name (gcide, kjv), and files and folders by path.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mote::text {

// Documents of bytes (not necessarily UTF-8), in order. The views live as long as the corpus.
class Corpus {
 public:
  virtual ~Corpus() = default;
  virtual const std::vector<std::string_view>& documents() const = 0;
  std::uint64_t bytes() const;
};

// How files are read as text.
struct TextFormat {
  std::string json_key = "text";  // of JSON lines
  bool binary = false;            // take what is no text byte by byte
  // Of JSON lines that are pairs: each is two documents, that of json_key and that of this one. Empty: no
  // pairs.
  std::string target_key = {};
};

// `name` is a name (gcide, kjv) or the path of a text file, of a .jsonl or .ndjson file (the text of
// every line), of either compressed by gzip, of a folder of these, or of a prepared folder, whose
// tokens are decoded. With :train, :valid or :test behind it: the blocks of 65,536 bytes of that split,
// counted over all documents (block i is valid where i mod 20 is 18, test where it is 19); blocks
// next to each other in a document are one document. Cut to the first `max_bytes` bytes (the last
// document is cut short); 0 means no limit. Throws Error when it is missing, empty, unreadable or
// no text, and says what to do.
std::unique_ptr<Corpus> open_corpus(const std::string& name, std::uint64_t max_bytes = 0,
                                    const TextFormat& format = {});

// A file's or folder's name (with its split, if it has one) that means the same in whatever folder a
// program runs: its absolute path, if that is UTF-8, as what is written about a run is. Names of
// corpora, and of what is not there, stay as they are.
std::string named_from_anywhere(const std::string& name);

// Corpora known by name, each with whether this machine has it and how to get it: what `mote
// doctor` prints.
struct KnownCorpus {
  std::string name, description, problem;  // problem: empty when it is there
};
std::vector<KnownCorpus> known_corpora();

}  // namespace mote::text
