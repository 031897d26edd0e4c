#include "base/file.h"
#include "base/stopwatch.h"
#include "cli/command.h"
#include "text/batches.h"
#include "text/bpe.h"

namespace mote::cli {
namespace {

// Several corpora as one, documents in the order of the arguments.
class Joined final : public text::Corpus {
 public:
  explicit Joined(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      parts_.push_back(text::open_corpus(name));
      const auto& documents = parts_.back()->documents();
      documents_.insert(documents_.end(), documents.begin(), documents.end());
    }
  }
  const std::vector<std::string_view>& documents() const override { return documents_; }

 private:
  std::vector<std::unique_ptr<text::Corpus>> parts_;
  std::vector<std::string_view> documents_;
};

class Prepare final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("CORPUS", corpora_, "NAME:SPLIT, files or folders")->required();
    app.add_option("--out", out_, "a new folder for the tokens")->required();
    app.add_option("--tokenizer", tokenizer_, "bytes, bpe, or a folder with a tokenizer.json");
    app.add_option("--vocab-size", vocab_size_, "tokens of a new bpe tokenizer")
        ->check(from_to(257, 1000000));
  }

  Json run(const Context& context) override {
    const Stopwatch stopwatch;
    check_folder_is_free(out_);
    const Joined corpus(corpora_);
    std::unique_ptr<text::Tokenizer> tokenizer;
    if (tokenizer_ == "bytes")
      tokenizer = text::make_byte_tokenizer();
    else if (tokenizer_ == "bpe")
      tokenizer = text::train_bpe(corpus, vocab_size_, context.threads);
    else if (tokenizer_ == "unigram")
      throw Error(ErrorKind::unsupported,
                  "--tokenizer unigram: not built yet; choose bytes, bpe or a tokenizer's folder")
          .at("--tokenizer");
    else
      tokenizer = text::load_tokenizer(tokenizer_);
    std::string names;
    for (const std::string& name : corpora_) names += (names.empty() ? "" : " ") + name;
    const text::Prepared p = text::prepare(corpus, *tokenizer, names, out_, context.threads);
    return {{"tokens", p.tokens},
            {"bytes", p.bytes},
            {"bytes_per_token", static_cast<double>(p.bytes) / static_cast<double>(p.tokens)},
            {"vocab_size", p.vocab_size},
            {"seconds", stopwatch.seconds()}};
  }

 private:
  std::vector<std::string> corpora_;
  std::string out_, tokenizer_ = "bpe";
  int vocab_size_ = 32768;
};

}  // namespace

std::unique_ptr<Verb> make_prepare() {
  return std::make_unique<Prepare>();
}

}  // namespace mote::cli
