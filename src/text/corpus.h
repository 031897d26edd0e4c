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

// `name` is NAME:SPLIT (gcide, kjv; train, valid, test), NAME alone (all of it), or the path of a
// text file, a .jsonl file (the `text` key of every line), or a folder of these. Throws Error when
// it is missing, empty or unreadable, and says how to get it.
std::unique_ptr<Corpus> open_corpus(const std::string& name);

// The same, cut to the first `max_bytes` bytes (the last document is cut short); 0 means no limit.
std::unique_ptr<Corpus> open_corpus(const std::string& name, std::uint64_t max_bytes);

// Corpora known by name, each with whether this machine has it and how to get it: what `mote
// doctor` prints.
struct KnownCorpus {
  std::string name, description, problem;  // problem: empty when it is there
};
std::vector<KnownCorpus> known_corpora();

}  // namespace mote::text
